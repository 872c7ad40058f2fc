//! Reads the lines of a followed file on a thread that polls the file.

use super::source::{LineChunk, LineSource, READ_AHEAD};
use crate::follow::{
    ArrivedLines, FileTail, Note, NoteKeeper, TailEvent, TopicLoss, TopicSpan, Warning, folder_of, former_note_paths,
    is_behind_link, note_path,
};
use crate::output::{escaped, stderr_line};
use crate::session::interrupted;
use anyhow::Context;
use grower_client::Client;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// How often to poll the file.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// A file to follow, before the first read.
pub(super) struct Follower {
    tail: FileTail,
    keeper: NoteKeeper,
    /// Lines that arrived after the last note.
    arrived: ArrivedLines,
}

impl Follower {
    /// Finds the position to continue at. None if it was interrupted while it waited for the file's folder.
    pub(super) async fn begin(
        client: &Client,
        path: &Path,
        state_dir: Option<&Path>,
        topic: &str,
        limit: usize,
    ) -> anyhow::Result<Option<Self>> {
        let Some(note_path) = wait_for_folder(path, topic, state_dir).await? else { return Ok(None) };
        let blank = Note::blank(new_follower(), &TopicSpan::describe(client, topic).await?);
        let former = former_note_paths(path, topic, state_dir)?;
        let (mut keeper, note) = NoteKeeper::open_or_move(note_path, &former, blank)?;
        let arrived = match &note {
            Some(_) => arrived(client, path, topic, &mut keeper).await?,
            None if state_dir.is_none() && is_behind_link(path)? => {
                warn(&Warning::BehindLink { file: path.to_owned() });
                ArrivedLines::default()
            }
            None => ArrivedLines::default(),
        };
        Ok(Some(Self { tail: FileTail::start(path, note, limit), keeper, arrived }))
    }

    /// Starts the thread that reads.
    pub(super) fn start(self) -> anyhow::Result<(LineSource, NoteKeeper, ArrivedLines)> {
        let (sender, source) = mpsc::channel(READ_AHEAD);
        let Self { mut tail, keeper, arrived } = self;
        let thread = std::thread::Builder::new().name("follow".to_owned());
        thread.spawn(move || follow(&mut tail, &sender))?;
        Ok((source, keeper, arrived))
    }
}

/// Reads until the receiver is dropped.
fn follow(tail: &mut FileTail, sender: &mpsc::Sender<anyhow::Result<LineChunk>>) {
    while !sender.is_closed() {
        let chunk = match tail.step(Instant::now()) {
            TailEvent::Begun(file, at) => LineChunk { lines: Vec::new(), file: Some(file), begun: Some(at) },
            TailEvent::Lines(file, lines) => LineChunk { lines, file: Some(file), begun: None },
            TailEvent::Warning(warning) => {
                warn(&warning);
                continue;
            }
            TailEvent::Idle => {
                std::thread::sleep(LOOK_EVERY);
                continue;
            }
        };
        if sender.blocking_send(Ok(chunk)).is_err() {
            return;
        }
    }
}

fn warn(warning: &Warning) {
    stderr_line(format_args!("warning: {}", escaped(&warning.to_string())));
}

/// Returns the path of the note, once the folders of the note and of the file exist.
async fn wait_for_folder(path: &Path, topic: &str, state_dir: Option<&Path>) -> anyhow::Result<Option<PathBuf>> {
    if let Some(state_dir) = state_dir {
        let made = std::fs::create_dir_all(state_dir);
        made.with_context(|| format!("cannot create --state-dir {}", state_dir.display()))?;
    }
    let folder = folder_of(path);
    if !folder.is_dir() {
        warn(&Warning::Waiting { file: folder.to_owned(), why: "no such folder".to_owned() });
    }
    let mut interrupt = std::pin::pin!(interrupted());
    while !folder.is_dir() {
        tokio::select! {
            () = &mut interrupt => return Ok(None),
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
    }
    let note = note_path(path, topic, state_dir);
    note.map(Some).with_context(|| format!("cannot find the folder of {}", path.display()))
}

/// Finds the lines that arrived after the note was written. The note is locked, so no other follower sends more.
async fn arrived(client: &Client, file: &Path, topic: &str, keeper: &mut NoteKeeper) -> anyhow::Result<ArrivedLines> {
    let (now, note_path) = (TopicSpan::describe(client, topic).await?, keeper.path().to_owned());
    let (note, loss) = keeper.adjust(&now);
    let (file, topic_name) = (file.to_owned(), topic.to_owned());
    match loss {
        Some(TopicLoss::CreatedAgain) => warn(&Warning::OtherTopic { file, topic: topic_name, note: note_path }),
        Some(TopicLoss::Records(lost)) => {
            for (partition, lost) in lost {
                let (file, topic) = (file.clone(), topic_name.clone());
                warn(&Warning::RecordsLost { file, topic, partition, lost });
            }
        }
        None => {}
    }
    ArrivedLines::find(client, topic, note, &now).await
}

/// Creates a unique name for this follower.
fn new_follower() -> String {
    use std::hash::{BuildHasher, Hasher};
    // Each RandomState is seeded from the operating system's randomness.
    format!("{:016x}", std::collections::hash_map::RandomState::new().build_hasher().finish())
}
