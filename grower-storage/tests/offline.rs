//! Looking at files offline: `verify` and `dump`.

mod log_kit;

use grower_storage::disk::{Call, Disk};
use grower_storage::log::{Log, LogOptions};
use grower_storage::verify::{Dumped, dump, verify};
use log_kit::{DIR, World};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

fn first_log() -> PathBuf {
    Path::new(DIR).join("00000000000000000000.growerlog")
}

fn world(options: LogOptions) -> World {
    let mut world = World::new(options);
    (0..4).for_each(|n| assert!(world.append(1 + n % 2, 30).is_ok()));
    world
}

fn lines(world: &World, limit: usize) -> Vec<String> {
    let mut lines = Vec::new();
    dump(&world.memory, &first_log(), |dumped| {
        lines.push(match dumped {
            Dumped::Batch { position, batch } => format!("{position}: {}", batch.header().base_offset),
            Dumped::Damaged { bytes, reason } => format!("{}..{}: {reason}", bytes.start, bytes.end),
            Dumped::Room { bytes } => format!("{}..{}: room", bytes.start, bytes.end),
        });
        if lines.len() < limit { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })
    .unwrap();
    lines
}

fn roomy() -> LogOptions {
    LogOptions { segment_bytes: 1 << 20, preallocate_bytes: 1_000, ..log_kit::options() }
}

#[test]
fn a_dump_tells_batches_damage_and_room_apart() {
    let world = world(roomy());
    insta::assert_snapshot!(lines(&world, 99).join("\n"), @"
    0: 0
    101: 1
    242: 3
    343: 4
    484..1101: room
    ");
    world.memory.edit(&first_log(), |bytes| bytes[150] ^= 1).unwrap();
    insta::assert_snapshot!(lines(&world, 99).join("\n"), @"
    0: 0
    101..242: stored crc 0x265e58d6, computed 0x153b6cbc
    242: 3
    343: 4
    484..1101: room
    ");
    assert_eq!(lines(&world, 2).len(), 2, "it ends when it is told to");
}

#[test]
fn a_check_changes_nothing_and_finds_nothing_in_a_log_that_was_killed() {
    let world = world(roomy());
    let verified = verify(&*world.disk, Path::new(DIR), |_| {}).unwrap();
    assert_eq!(verified.findings, []);
    assert_eq!(verified.offsets, Some(world.log.span()));
    let changes = world.faults.mutations();
    let whole = world.batches.iter().map(|batch| batch.bytes.len() as u64).sum::<u64>();
    assert_eq!(verified.bytes, whole);
    let cut = |bytes: &mut Vec<u8>| bytes.truncate(whole as usize - 20);
    world.memory.edit(&first_log(), cut).unwrap();
    let verified = verify(&*world.disk, Path::new(DIR), |_| {}).unwrap();
    assert_eq!(verified.findings, [], "a torn tail is no damage");
    assert!(0 < verified.torn_bytes);
    assert_eq!(world.faults.mutations(), changes);
    assert!(0 < world.faults.calls(Call::Read));
}

#[test]
fn an_index_entry_that_no_crash_leaves_is_damage_even_after_the_synced_end() {
    let mut world = world(roomy());
    world.log.checkpoint(Default::default()).unwrap();
    let index = first_log().with_extension("growerindex");
    let synced = world.memory.map(&index).unwrap().as_ref().len();
    let with = |more: &[u8]| {
        world
            .memory
            .edit(&index, |bytes| {
                bytes.truncate(synced);
                bytes.extend_from_slice(more);
            })
            .unwrap();
        verify(&*world.disk, Path::new(DIR), |_| {}).unwrap().findings.len()
    };
    assert_eq!(with(&[]), 0);
    assert_eq!(with(&[0; 64]), 0, "the sector never reached the disk");
    assert_eq!(with(&[1; 32]), 1);
}

#[test]
fn a_finding_says_file_bytes_offsets_and_what() {
    let mut world = world(log_kit::options());
    world.log.checkpoint(Default::default()).unwrap();
    world.memory.edit(&first_log(), |bytes| bytes[150] ^= 1).unwrap();
    world.memory.edit(&first_log().with_extension("growerindex"), |bytes| bytes[3] ^= 1).unwrap();
    let findings = verify(&*world.disk, Path::new(DIR), |_| {}).unwrap().findings;
    let text: Vec<String> = findings.iter().map(ToString::to_string).collect();
    insta::assert_snapshot!(text.join("\n"), @"
    /topics/t/0/00000000000000000000.growerindex: bytes 0..32: a damaged entry
    /topics/t/0/00000000000000000000.growerlog: bytes 101..242 offsets 1..3: stored crc 0x265e58d6, computed 0x153b6cbc
    ");
}

#[test]
fn a_directory_that_is_not_there_is_sound() {
    let world = World::new(log_kit::options());
    assert_eq!(verify(&world.memory, Path::new("/nowhere"), |_| {}).unwrap(), Default::default());
}
