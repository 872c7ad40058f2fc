use super::*;
use grower_storage::disk::MemDisk;
use proptest::prelude::*;

fn id(number: u8) -> TopicId {
    TopicId::from_random([number; 16])
}

fn name() -> TopicName {
    TopicName::new("events").unwrap()
}

fn open(disk: &MemDisk) -> BegunFile {
    BegunFile::open(Arc::new(disk.clone()), Path::new("/data")).unwrap()
}

fn new_disk() -> MemDisk {
    let disk = MemDisk::default();
    disk.create_dir_all(Path::new("/data")).unwrap();
    disk
}

fn live(ids: &[u8]) -> BTreeSet<TopicId> {
    ids.iter().map(|number| id(*number)).collect()
}

#[test]
fn a_directory_of_an_earlier_version_has_no_list_until_its_first_start() {
    let disk = new_disk();
    let begun = open(&disk);
    assert_eq!(begun.has(id(1), PartitionId::new(0)), None);
    begun.found(id(1), PartitionId::new(0), &name());
    begun.retain(&live(&[1])).unwrap();
    let begun = open(&disk);
    assert_eq!(begun.has(id(1), PartitionId::new(0)), Some(true));
    assert_eq!(begun.has(id(1), PartitionId::new(1)), Some(false));
}

fn sound(partition: u32) -> String {
    line(&format!("+ {} {partition} events", id(1)))
}

fn found(text: &[u8]) -> Vec<u32> {
    parse(text).partitions.keys().map(|(_, partition)| partition.value()).collect()
}

#[test]
fn a_damaged_line_costs_only_itself_and_is_found() {
    for damage in ["", "+", "\u{fffd}", "- x 00000000", "\r", sound(1).replace('1', "2").trim_end(), "+ a 0 b 12345678"]
    {
        let text = format!("{}{damage}\n{}{}", sound(0), sound(2), &sound(3)[..20]);
        assert_eq!(found(text.as_bytes()), [0, 2], "{damage}");
        let start = sound(0).len() as u64;
        assert_eq!(parse(text.as_bytes()).damaged, std::slice::from_ref(&(start..start + damage.len() as u64 + 1)));
    }
}

#[test]
fn every_flipped_bit_is_found_in_its_line() {
    let text = sound(0) + &line(&format!("- {}", id(2))) + &sound(1);
    assert_eq!(parse(text.as_bytes()).damaged, []);
    for bit in 0..text.len() * 8 {
        let mut bytes = text.clone().into_bytes();
        bytes[bit / 8] ^= 1 << (bit % 8);
        let damaged = parse(&bytes).damaged;
        assert!(damaged.iter().any(|range| range.contains(&(bit as u64 / 8))), "bit {bit}: {damaged:?}");
    }
}

#[test]
fn lines_torn_by_a_crash_are_not_damage() {
    let text = sound(0) + &sound(1);
    for length in 0..=text.len() {
        assert_eq!(parse(&text.as_bytes()[..length]).damaged, [], "cut to {length}");
        let mut zeros = text.clone().into_bytes();
        zeros[length..].fill(0);
        assert!(text.len() <= length + 1 || parse(&zeros).damaged.is_empty(), "zeros from {length}");
    }
    let middle = [sound(0).as_bytes(), &[0; 400], b"3 events a1b2c3d4\n", sound(2).as_bytes()].concat();
    assert_eq!((found(&middle), parse(&middle).damaged), (vec![0, 2], Vec::new()));
}

#[derive(Clone, Debug)]
enum Step {
    Begin(u8, u32),
    Forget(u8),
    Settle(Vec<u8>),
    PowerCut,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (0u8..4, 0u32..3).prop_map(|(topic, partition)| Step::Begin(topic, partition)),
        (0u8..4).prop_map(Step::Forget),
        prop::collection::vec(0u8..4, 0..4).prop_map(Step::Settle),
        Just(Step::PowerCut),
    ]
}

proptest! {
    #[test]
    fn noted_partitions_survive_a_power_cut(steps in prop::collection::vec(step(), 0..40)) {
        let disk = new_disk();
        let mut begun = open(&disk);
        begun.retain(&BTreeSet::new()).unwrap();
        let mut expected = BTreeSet::new();
        for step in steps {
            match step {
                Step::Begin(topic, partition) => {
                    begun.begin(id(topic), PartitionId::new(partition), &name()).unwrap();
                    expected.insert((id(topic), PartitionId::new(partition)));
                }
                Step::Forget(topic) => {
                    begun.forget(id(topic)).unwrap();
                    expected.retain(|(of, _)| *of != id(topic));
                }
                Step::Settle(topics) => {
                    begun.retain(&live(&topics)).unwrap();
                    expected.retain(|(of, _)| live(&topics).contains(of));
                }
                Step::PowerCut => {
                    disk.crash();
                    begun = open(&disk);
                }
            }
            let noted: BTreeSet<_> = begun.state.lock().partitions.keys().copied().collect();
            prop_assert_eq!(&noted, &expected);
        }
    }
}

#[test]
fn a_line_is_durable_even_after_a_failed_rewrite_of_the_file() {
    let disk = new_disk();
    disk.sync_dir(Path::new("/")).unwrap();
    let begun = open(&disk);
    begun.retain(&live(&[1])).unwrap();
    let written = {
        let mut state = begun.state.lock();
        let (file, end) = state.file.take().unwrap(); // As a failed replacement leaves it.
        state.stale = true;
        file.write_all_at(sound(0).as_bytes(), end).unwrap();
        state.partitions.insert((id(1), PartitionId::new(0)), name());
        (state.replaced, end + sound(0).len() as u64)
    };
    begun.sync(written).unwrap();
    disk.crash();
    assert_eq!(open(&disk).has(id(1), PartitionId::new(0)), Some(true));
}
