//! Events that come again, flagged or not.

use event::Event;

use crate::law::open;
use crate::running::{self, config, rows, until};
use crate::topic::Topic;

fn again(edge_id: u64, seq: u64) -> Event<'static> {
    Event { replay: true, ..open(edge_id, seq) }
}

#[test]
fn an_event_that_comes_again_is_a_duplicate() {
    let mut topic = Topic::new("replay", 2);
    let store = running::store("replay");
    let running = running::start(&config(), topic.source(), &store);
    topic.put(0, &[open(1, 1), open(1, 2), open(1, 4)]);
    until("the first rows", || rows(&store) == 3);
    // Stored already; twice in one message; new though flagged; stored, but unflagged; late and new.
    topic.put(0, &[again(1, 1), again(1, 5), again(1, 5), open(1, 2), open(1, 3)]);
    until("the second rows", || rows(&store) == 5);
    // A whole message again, and one of an edge that was never seen, twice.
    topic.put(0, &[open(1, 1), open(1, 2), open(1, 4)]);
    topic.put(0, &[open(2, 1), open(2, 2)]);
    topic.put(0, &[open(2, 1), open(2, 2), open(2, 3)]);
    topic.put(1, &[open(3, 1)]);
    until("the last rows", || rows(&store) == 9);
    let counted = running.finish();
    topic.ledger.check(&store, counted);
    assert_eq!(counted.duplicate, 3 + 3 + 2);

    // A new owner remembers nothing: unflagged duplicates of what its predecessor stored are found all the same.
    topic.put(0, &[open(1, 4), open(1, 6)]);
    topic.put(0, &[open(1, 5), open(1, 7)]);
    topic.put(1, &[open(3, 1), open(3, 2)]);
    let running = running::start(&config(), topic.source(), &store);
    until("rows of the second life", || rows(&store) == 12);
    let second = running.finish();
    assert_eq!((second.stored, second.duplicate), (3, 3));
    topic.ledger.check_rows(&store);
    crate::law::check_views(&store);
}
