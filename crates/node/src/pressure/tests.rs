//! Who is refused for want of what.

use super::*;

const NOTHING: Shortage = Shortage { disk: false, memory: false };
const DISK: Shortage = Shortage { disk: true, memory: false };
const MEMORY: Shortage = Shortage { disk: false, memory: true };

struct Fixed(MemoryUse);

impl Memory for Fixed {
    fn read(&self) -> MemoryUse {
        self.0
    }
}

fn node(n: u64) -> NodeId {
    NodeId::new(n)
}

fn pressure(disk_free_bytes_min: u64, memory_bytes_max: u64) -> Pressure {
    let marks = Watermarks { disk_free_bytes_min, memory_bytes_max };
    Pressure::new(marks, Arc::new(Fixed(MemoryUse::default())))
}

fn reason(pressure: &Pressure, group: u64) -> Option<Reason> {
    pressure.check(GroupId::new(group)).err().map(|refusal| refusal.reason)
}

#[test]
fn a_leader_takes_no_publishes_when_its_own_disk_is_low_or_no_majority_has_room() {
    for (shortage, other) in [(DISK, MEMORY), (MEMORY, DISK)] {
        let pressure = pressure(0, 0);
        let hinders = |me: u64, count: u64| pressure.hinders(node(me), (1..=count).map(node));
        assert_eq!(hinders(1, 3), NOTHING);
        pressure.hear(node(2), shortage);
        assert_eq!(hinders(2, 3), shortage, "its own");
        assert_eq!(hinders(1, 3), NOTHING, "two others have enough");
        assert_eq!(hinders(1, 2), shortage, "no majority without it");
        pressure.hear(node(3), other);
        assert_eq!(hinders(1, 3), NOTHING, "of each there is a majority that has enough");
        pressure.hear(node(3), shortage);
        assert_eq!((hinders(1, 3), hinders(1, 5)), (shortage, NOTHING));
        pressure.hear(node(3), NOTHING);
        assert_eq!(hinders(1, 3), NOTHING);
    }
}

#[test]
fn what_the_leader_said_last_counts() {
    let pressure = pressure(0, 0);
    assert_eq!(reason(&pressure, 1), None);
    pressure.hear_leader(GroupId::new(1), DISK);
    assert_eq!((reason(&pressure, 1), reason(&pressure, 2)), (Some(Reason::DiskLow), None));
    pressure.hear_leader(GroupId::new(1), MEMORY);
    assert_eq!(reason(&pressure, 1), Some(Reason::MemoryHigh));
    pressure.hear_leader(GroupId::new(1), NOTHING);
    assert_eq!(reason(&pressure, 1), None);
}

#[test]
fn a_node_that_is_short_of_something_refuses_what_comes_through_it_until_it_has_well_enough() {
    let pressure = pressure(1_600, 0);
    let measure = |free: u64, used: u64| {
        pressure.measured(node(1), Some(free), MemoryUse { used_bytes: used, limit_bytes: 2_000 });
        reason(&pressure, 7)
    };
    assert_eq!(measure(1_600, 1_600), None);
    assert_eq!(measure(1_599, 1_600), Some(Reason::DiskLow));
    assert_eq!(measure(1_650, 1_600), Some(Reason::DiskLow));
    assert_eq!(measure(1_700, 1_600), None);
    assert_eq!(measure(1_700, 1_601), Some(Reason::MemoryHigh), "beyond four fifths");
    assert!(pressure.is_short(node(1)) && !pressure.is_short(node(2)));
    assert_eq!(measure(1_700, 1_550), Some(Reason::MemoryHigh));
    assert_eq!(measure(1_700, 1_500), None);
    assert_eq!((pressure.free_bytes(), pressure.memory().used_bytes), (1_700, 1_500));
}

#[test]
fn where_nothing_is_known_of_the_memory_it_is_never_too_much_unless_a_limit_is_set() {
    let unknown = pressure(0, 0);
    unknown.measured(node(1), None, MemoryUse { used_bytes: 1 << 40, limit_bytes: 0 });
    assert_eq!(reason(&unknown, 1), None);
    let limited = pressure(0, 100);
    limited.measured(node(1), None, MemoryUse { used_bytes: 101, limit_bytes: 0 });
    assert_eq!(reason(&limited, 1), Some(Reason::MemoryHigh));
}
