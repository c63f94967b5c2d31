use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

/// A click on a link by somebody, some milliseconds after the start.
fn click(seq: u64, link: u32, at: i64) -> Visit {
    Visit {
        id: (1, seq),
        offset: seq,
        workspace: 1,
        message: 7,
        recipient: 9,
        source: source([1; 16], "agent", 9),
        kind: Kind::Click,
        link,
        trap: false,
        received_at_ms: 1_764_000_000_000 + at,
        verdict: Verdict::Human,
    }
}

fn open(seq: u64, at: i64) -> Visit {
    Visit { kind: Kind::Open, ..click(seq, 0, at) }
}

/// The verdicts that stand in the end, by sequence.
fn in_the_end(visits: &[Visit]) -> BTreeMap<u64, (Verdict, &'static str)> {
    let (mut state, mut all) = (Visits::default(), BTreeMap::new());
    for visit in visits {
        let mut corrections = Vec::new();
        let own = state.observe(visit, &mut corrections);
        all.insert(visit.id.1, own.map_or((visit.verdict, ""), |found| (found.verdict, found.reason)));
        for correction in corrections {
            assert_eq!(correction.visit.verdict, Verdict::Human);
            let before =
                all.insert(correction.visit.id.1, (correction.finding.verdict, correction.finding.reason));
            assert_eq!(before, Some((Verdict::Human, "")), "corrected once, and after it was seen");
        }
    }
    all
}

const SWEEP: (Verdict, &str) = (Verdict::Scanner, "link-sweep");
const TAINT: (Verdict, &str) = (Verdict::Scanner, "trap-taint");
const PERSON: (Verdict, &str) = (Verdict::Human, "");

#[test]
fn three_links_in_seconds_are_a_sweep_and_the_first_two_are_corrected() {
    let mut state = Visits::default();
    let mut corrections = Vec::new();
    assert_eq!(state.observe(&click(1, 1, 0), &mut corrections), None);
    assert_eq!(state.observe(&click(2, 2, 900), &mut corrections), None);
    assert_eq!(corrections, []);
    assert_eq!(state.observe(&click(3, 3, 1_800), &mut corrections), Some(SWEPT));
    let corrected: Vec<u64> = corrections.iter().map(|correction| correction.visit.id.1).collect();
    assert_eq!(corrected, [1, 2]);
    corrections.clear();
    assert_eq!(state.observe(&click(4, 4, 2_000), &mut corrections), Some(SWEPT));
    assert_eq!(corrections, []);
}

#[test]
fn a_scanner_that_takes_many_copies_at_once_is_found_in_each() {
    // A hundred copies of one message, turn by turn, from one source.
    let step = |n: u64, copy: u64| {
        let visit = if n == 0 { open(0, n as i64) } else { click(0, n as u32, n as i64) };
        Visit { id: (1, n * 100 + copy), offset: n * 100 + copy, recipient: copy + 1, ..visit }
    };
    let visits: Vec<Visit> = (0..4).flat_map(|n| (0..100).map(move |copy| step(n, copy))).collect();
    assert!(in_the_end(&visits).values().all(|verdict| *verdict == SWEEP));
}

#[test]
fn a_person_who_reads_is_no_sweep() {
    // Slowly; the same link again and again; two links; as many people in one office; two messages.
    assert!(
        in_the_end(&[click(1, 1, 0), click(2, 2, 4_000), click(3, 3, 9_000)]).values().all(|v| *v == PERSON)
    );
    assert!(
        in_the_end(&(1..9).map(|n| click(n, 1 + n as u32 % 2, 0)).collect::<Vec<_>>())
            .values()
            .all(|v| *v == PERSON)
    );
    let office: Vec<Visit> = (1..9).map(|n| Visit { recipient: n, ..click(n, n as u32, 0) }).collect();
    assert!(in_the_end(&office).values().all(|v| *v == PERSON));
    let unknown: Vec<Visit> = (1..9).map(|n| Visit { recipient: 0, ..click(n, n as u32, 0) }).collect();
    assert!(in_the_end(&unknown).values().all(|v| *v == PERSON));
    let messages: Vec<Visit> = (1..9).map(|n| Visit { message: n, ..click(n, n as u32, 0) }).collect();
    assert!(in_the_end(&messages).values().all(|v| *v == PERSON));
}

#[test]
fn the_slow_sweep_is_found_and_the_open_beside_it() {
    let visits: Vec<Visit> = (1..=5)
        .map(|n| click(n, n as u32, n as i64 * 6_000))
        .chain([open(6, 8_000), open(7, 80_000)])
        .collect();
    let verdicts = in_the_end(&visits);
    assert!((1..=6).all(|seq| verdicts[&seq] == SWEEP), "{verdicts:?}");
    assert_eq!(verdicts[&7], PERSON, "that one is somebody's");
}

#[test]
fn a_trap_taints_its_source_for_its_message_before_and_after() {
    let elsewhere = source([2; 16], "agent", 9);
    let trap = Visit { trap: true, verdict: Verdict::Scanner, ..click(3, 9, 0) };
    let visits = [
        open(1, -1_000_000),
        open(2, -800_000),
        trap,
        Visit { recipient: 10, ..click(4, 1, 800_000) },
        Visit { source: elsewhere, ..click(5, 1, 1_000) },
        Visit { message: 8, ..click(6, 1, 1_000) },
        click(7, 1, 1_000_000),
        Visit { verdict: Verdict::Bot, ..click(8, 1, 1_000) },
    ];
    let verdicts = in_the_end(&visits);
    let expected = [PERSON, TAINT, (Verdict::Scanner, ""), TAINT, PERSON, PERSON, PERSON, (Verdict::Bot, "")];
    assert_eq!(verdicts.into_values().collect::<Vec<_>>(), expected);
}

#[test]
fn a_proxy_is_many_people() {
    let proxy = Visit { verdict: Verdict::Proxy, ..open(1, 0) };
    let trap = Visit { trap: true, verdict: Verdict::Bot, ..click(2, 9, 0) };
    assert_eq!(in_the_end(&[proxy, trap, Visit { id: (1, 3), ..proxy }])[&3], (Verdict::Proxy, ""));
}

#[test]
fn an_unknown_address_is_a_source_of_one_recipient() {
    assert_ne!(source([0; 16], "agent", 1), source([0; 16], "agent", 2));
    assert_eq!(source([1; 16], "agent", 1), source([1; 16], "agent", 2));
    assert_ne!(source([1; 16], "agent", 1), source([2; 16], "agent", 1));
}

#[test]
fn visits_that_may_not_be_told_apart_say_nothing_of_one_another() {
    let nobody = |seq| Visit { recipient: 0, source: source([0; 16], "crowd:phone", 0), ..click(seq, 1, 0) };
    let visits = [nobody(1), Visit { trap: true, verdict: Verdict::Scanner, ..nobody(2) }, nobody(3)];
    let verdicts = in_the_end(&visits);
    assert_eq!((verdicts[&1].0, verdicts[&3].0), (Verdict::Human, Verdict::Human));
}

#[test]
fn everything_held_has_a_bound() {
    let mut state = Visits::default();
    let mut corrections = Vec::new();
    for seq in 0..VISITS_MAX as u64 + 3_000 {
        // One that hammers among others, without an offset that grows.
        let recipient = if seq % 2 == 0 { 1 } else { seq };
        let visit = Visit {
            offset: 5,
            recipient,
            trap: seq % 4 == 0,
            verdict: Verdict::Scanner,
            source: source([0; 16], "", recipient),
            ..click(seq, 1, seq as i64 * 100)
        };
        state.observe(&visit, &mut corrections);
    }
    assert_eq!((state.held.len(), state.latest.len()), (VISITS_MAX, VISITS_MAX / 2 + 1));
    assert_eq!(state.of_latest().count(), 1);
    let again = Visit { offset: 5, recipient: 1, source: source([0; 16], "", 1), ..click(0, 1, 0) };
    state.observe(&again, &mut corrections);
    assert_eq!(state.of_latest().count(), VISITS_OF_ONE_MAX, "of the one that hammers");
    assert_eq!(
        (state.traps.len(), state.tainted.values().map(VecDeque::len).sum::<usize>()),
        (TRAPS_MAX, TRAPS_MAX)
    );
    let later = Visit { offset: 5 + TRAP_OFFSETS_MAX, ..click(0, 1, 0) };
    state.observe(&later, &mut corrections);
    assert_eq!((state.held.len(), state.latest.len(), state.traps.len(), state.tainted.len()), (1, 1, 0, 0));
}

fn any_visit() -> impl Strategy<Value = Visit> {
    (0u8..8, 1u32..6, 0i64..40_000, 1u64..3, 1u8..3).prop_map(|(what, link, at, recipient, address)| {
        let visit = match what {
            0 | 1 => open(0, at),
            2 if link == 1 => Visit { trap: true, verdict: Verdict::Scanner, ..click(0, 99, at) },
            _ => click(0, link, at),
        };
        Visit { recipient, source: source([address; 16], "agent", recipient), ..visit }
    })
}

proptest! {
    /// The verdicts in the end are the same in whatever order the visits come, and for an owner that takes over in
    /// the middle after observing again what the one before had observed.
    #[test]
    fn verdicts_depend_on_no_order_and_on_no_restart(
        visits in prop::collection::vec(any_visit(), 1..40), shuffle in any::<u64>(), cut in any::<prop::sample::Index>(),
    ) {
        let numbered: Vec<Visit> = visits.iter().enumerate().map(|(n, visit)| {
            Visit { id: (1, n as u64), offset: n as u64, ..*visit }
        }).collect();
        let verdicts = in_the_end(&numbered);
        let mut shuffled = numbered.clone();
        shuffled.sort_by_key(|visit| (visit.id.1 + 1).wrapping_mul(shuffle | 1).rotate_left(17));
        for (n, visit) in shuffled.iter_mut().enumerate() {
            visit.offset = n as u64;
        }
        // The reason may be either rule's where both apply: the one that came first.
        let only = |all: &BTreeMap<u64, (Verdict, &'static str)>| all.iter().map(|(seq, (verdict, _))| (*seq, *verdict)).collect::<Vec<_>>();
        prop_assert_eq!(only(&verdicts), only(&in_the_end(&shuffled)));

        let cut = cut.index(numbered.len());
        let (mut live, mut taken_over) = (Visits::default(), Visits::default());
        for visit in &numbered[..cut] {
            // The row has the verdict that it was stored with.
            let found = live.observe(visit, &mut Vec::new());
            let stored = Visit { verdict: found.map_or(visit.verdict, |found| found.verdict), ..*visit };
            taken_over.observe(&stored, &mut Vec::new());
        }
        for visit in &numbered[cut..] {
            let (mut a, mut b) = (Vec::new(), Vec::new());
            prop_assert_eq!(live.observe(visit, &mut a), taken_over.observe(visit, &mut b));
            prop_assert_eq!(a, b);
        }
    }
}
