//! Where lines come from: a thread of its own reads them, because reading a pipe or a terminal may take for ever.

use crate::follow::{Keeper, Mark, Open, Place, Step, Tail, marks_after};
use crate::lines::{Line, Splitter};
use crate::output::Stdin;
use anyhow::Context;
use grower_client::ids::{Offset, PartitionId};
use grower_client::{Client, OffsetSpec};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// How many pieces may be read ahead.
const READ_AHEAD: usize = 4;
/// How often a followed file is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Lines that were read at once.
pub(super) struct Piece {
    pub(super) lines: Vec<Line>,
    /// Which followed file they are of.
    pub(super) file: Option<Arc<Open>>,
}

/// The receiving end. It ends when the input does.
pub(super) type Source = mpsc::Receiver<anyhow::Result<Piece>>;

/// Reads a file, or standard input, to its end.
pub(super) fn open(file: Option<&Path>, line_bytes_max: usize) -> anyhow::Result<Source> {
    let input: Box<dyn Read + Send> = match file.filter(|path| path.as_os_str() != "-") {
        Some(path) => Box::new(File::open(path).with_context(|| cannot_read(path))?),
        None => Box::new(Stdin),
    };
    let failed = cannot_read(file.unwrap_or(Path::new("-")));
    let (sender, source) = mpsc::channel(READ_AHEAD);
    std::thread::Builder::new().name("lines".to_owned()).spawn(move || {
        if let Err(error) = read_to_end(input, line_bytes_max, &sender) {
            let _ = sender.blocking_send(Err(error).context(failed)); // If nobody listens any more there is nobody to tell.
        }
    })?;
    Ok(source)
}

/// What a person is told who named it.
fn cannot_read(path: &Path) -> String {
    match path.to_str() {
        Some("-") => "cannot read standard input".to_owned(),
        _ => format!("cannot read {}", path.display()),
    }
}

/// Reads to the end, or until nobody wants more.
fn read_to_end(
    mut input: impl Read,
    line_bytes_max: usize,
    sender: &mpsc::Sender<anyhow::Result<Piece>>,
) -> io::Result<()> {
    let mut splitter = Splitter::new(0, line_bytes_max);
    loop {
        let read = splitter.read_from(&mut input);
        let ended = matches!(read, Ok(0) | Err(_));
        let mut lines: Vec<Line> = std::iter::from_fn(|| splitter.next_line()).collect();
        if matches!(read, Ok(0)) {
            lines.extend(splitter.finish());
        }
        if !lines.is_empty() && sender.blocking_send(Ok(Piece { lines, file: None })).is_err() {
            return Ok(());
        }
        if ended {
            return read.map(drop);
        }
    }
}

/// A file about to be followed.
pub(super) struct Follower {
    path: PathBuf,
    tail: Tail,
    keeper: Keeper,
    /// Lines that have arrived although the last note does not say so.
    arrived: BTreeSet<Mark>,
}

impl Follower {
    /// Finds out where to go on.
    pub(super) async fn begin(client: &Client, path: &Path, topic: &str, limit: usize) -> anyhow::Result<Self> {
        let note = Keeper::path_for(path, topic);
        let place = Keeper::load(&note)?;
        let tail =
            Tail::start(path, place.as_ref(), limit).with_context(|| format!("cannot follow {}", path.display()))?;
        let ends = ends(client, topic).await?;
        let (follower, offset, next) = match &place {
            Some(Place { follower, next, .. }) => (follower.clone(), tail.offset(), next.clone()),
            None => (new_follower(), 0, ends.clone()),
        };
        // Only now: it refuses while another follower lives, so nobody else adds marks of ours.
        let keeper = Keeper::begin(note, follower.clone(), tail.current(), offset, next.clone())?;
        let arrived =
            if place.is_some() { marks_after(client, topic, &follower, &next, &ends).await? } else { BTreeSet::new() };
        Ok(Self { path: path.to_owned(), tail, keeper, arrived })
    }

    /// Starts to read.
    pub(super) fn start(self) -> anyhow::Result<(Source, Keeper, BTreeSet<Mark>)> {
        let (sender, source) = mpsc::channel(READ_AHEAD);
        let Self { path, mut tail, keeper, arrived } = self;
        std::thread::Builder::new().name("follow".to_owned()).spawn(move || {
            if let Err(error) = follow(&mut tail, &path, &sender) {
                let _ = sender.blocking_send(Err(error).context(cannot_read(&path))); // If nobody listens any more there is nobody to tell.
            }
        })?;
        Ok((source, keeper, arrived))
    }
}

/// Reads until nobody wants more.
fn follow(tail: &mut Tail, path: &Path, sender: &mpsc::Sender<anyhow::Result<Piece>>) -> io::Result<()> {
    while !sender.is_closed() {
        match tail.step(Instant::now())? {
            Step::Idle => std::thread::sleep(LOOK_EVERY),
            Step::Lines(_, lines) if lines.is_empty() => {}
            Step::Lines(file, lines) => {
                if sender.blocking_send(Ok(Piece { lines, file: Some(file) })).is_err() {
                    return Ok(());
                }
            }
            Step::Gap(offset) => eprintln!(
                "warning: {} is not the file that was read up to byte {offset}, and that one is gone: reading this one from \
                 its beginning; what the old one held after that byte is missing",
                path.display()
            ),
        }
    }
    Ok(())
}

/// Where each partition of a topic ends.
async fn ends(client: &Client, topic: &str) -> anyhow::Result<BTreeMap<PartitionId, Offset>> {
    let admin = client.admin();
    let described = admin.describe_topic(topic, false).await?;
    let partitions: Vec<PartitionId> = described.partitions.iter().map(|partition| partition.partition).collect();
    let lookups = partitions.iter().map(|partition| (topic, *partition, OffsetSpec::End));
    let mut ends = BTreeMap::new();
    for (partition, listed) in partitions.iter().zip(admin.list_offsets(lookups).await?) {
        ends.insert(*partition, listed?.offset.unwrap_or_default());
    }
    Ok(ends)
}

/// A name that no other follower has.
fn new_follower() -> String {
    use std::hash::{BuildHasher, Hasher};
    // Each RandomState is seeded anew from the operating system's randomness.
    format!("{:016x}", std::collections::hash_map::RandomState::new().build_hasher().finish())
}
