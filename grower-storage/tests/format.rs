//! The bytes of a partition's files, all of them. A later version must go on reading these.

mod log_kit;

use grower_storage::log::Log;
use log_kit::World;
use std::fmt::Write;

fn dump(world: &World) -> String {
    use grower_storage::disk::Disk;
    let mut text = String::new();
    for path in world.memory.files() {
        writeln!(text, "{}", path.display()).unwrap();
        for row in world.memory.map(&path).unwrap().as_ref().chunks(16) {
            let words: Vec<String> =
                row.chunks(4).map(|word| word.iter().map(|b| format!("{b:02x}")).collect()).collect();
            writeln!(text, "  {}", words.join(" ")).unwrap();
        }
    }
    text
}

#[test]
fn the_files_of_a_partition_never_change() {
    let mut world = World::new(log_kit::options());
    world.epoch = 5;
    world.now = 1_700_000_000_000;
    world.append(2, 6).unwrap();
    assert!(world.flush());
    world.append(1, 50).unwrap();
    world.log.checkpoint(Default::default()).unwrap();
    insta::assert_snapshot!(dump(&world), @"
    /topics/t/0/00000000000000000000.growerindex
      00000003 000000d4 0000018b cfe56800
      0000005d 02271145 00010000 242c422a
      00000003 000000d4 0000018b cfe56800
      000000d4 8172521f 00010000 b9ec1fbf
    /topics/t/0/00000000000000000000.growerlog
      00000000 00000000 00000051 00000005
      0244c343 d1000000 00000100 00018bcf
      e5680000 00018bcf e5680000 00000000
      00000100 00000000 00000000 021e0000
      00011230 2e30302e 30302e30 001e0000
      02011230 2e31302e 31302e31 00000000
      00000000 02000000 6b000000 05029f3a
      64820000 00000000 0000018b cfe56800
      0000018b cfe56800 00000000 00000001
      00000000 00020000 00017200 00000166
      322e3032 2e30322e 30322e30 322e3032
      2e30322e 30322e30 322e3032 2e30322e
      30322e30 322e3032 2e30322e 30322e30
      322e3000
    /topics/t/0/checkpoint
      47576370 00010000 0000002c 00000000
      00000000 00000000 00000003 00000000
      00000000 00000000 000000d4 00000000
      00000000 00000000 27355be5
    /topics/t/0/leader-epochs
      47576c65 00010000 00000010 00000001
      00000005 00000000 00000000 bda0097f
    /topics/t/0/partition.meta
      4757706d 00010000 00000014 07070707
      07074707 87070707 07070707 00000000
      170cf979
    /topics/t/0/producers.snapshot
      47577073 00020000 0000004a 00000000
      00000003 00000001 00000000 00000001
      00000000 018bcfe5 68000000 00000000
      00020000 00000000 00000000 00000000
      00000002 00000000 00020000 00000000
      00020000 0001b94e afac
    ");
}
