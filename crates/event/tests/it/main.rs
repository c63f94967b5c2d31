//! The wire contract, held from three sides: golden bytes, the generated types, and hostile input.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use event::{Batch, DecodeError, Event, Kind, Method, Mode, Position, Region, proto};
use proptest::prelude::*;
use prost::Message;

/// The bytes of a full event, written down once. They change only when the contract breaks.
const GOLDEN: &str = include_str!("golden.hex");

fn full() -> Event<'static> {
    Event {
        recipient: 0x0102_0304_0506_0708,
        edge_id: 0x1112_1314_1516_1718,
        seq: 300,
        kind: Kind::Click,
        received_at_ms: 1_764_000_000_123,
        workspace: 7,
        message: 9_001,
        link: 3,
        target: "https://example.com/a?b=c#d",
        sent_at_ms: 1_763_999_000_000,
        position: Position::Bottom,
        mode: Mode::Full,
        region: Region::Other,
        trap: true,
        method: Method::Get,
        user_agent: "Mozilla/5.0",
        accept: "image/avif",
        accept_language: "de-CH, fr;q=0.9",
        referer: "https://mail.example/",
        sec_fetch_site: "cross-site",
        sec_fetch_mode: "no-cors",
        sec_fetch_dest: "image",
        sec_fetch_user: "?1",
        sec_purpose: "prefetch",
        purpose: "preview",
        x_purpose: "preview",
        x_moz: "prefetch",
        via: "1.1 proxy",
        host: "m.example.com",
        http_version: 11,
        client_ip: &[192, 0, 2, 1],
        dnt: true,
        sec_gpc: true,
        replay: false,
        time_zone: "Europe/Zurich",
        country: "CH",
        domain: 0x2122_2324_2526_2728,
    }
}

fn encoded(event: &Event<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    event.encode(&mut out);
    out
}

#[test]
fn golden_bytes_hold() {
    assert_eq!(hex::encode(encoded(&full())), GOLDEN.trim());
    let bytes = hex::decode(GOLDEN.trim()).unwrap();
    assert_eq!(Event::decode(&bytes), Ok(full()));
}

#[test]
fn recipient_is_read_from_its_fixed_place() {
    assert_eq!(event::recipient_of(&encoded(&full())), 0x0102_0304_0506_0708);
    assert_eq!(event::recipient_of(&encoded(&Event { recipient: 0, ..full() })), 0);
    assert_eq!(event::recipient_of(&[]), 0);
}

#[test]
fn a_replay_mark_is_the_last_word() {
    let mut bytes = encoded(&full());
    event::mark_replay(&mut bytes);
    assert_eq!(Event::decode(&bytes), Ok(Event { replay: true, ..full() }));
}

#[test]
fn fields_of_a_newer_writer_are_skipped() {
    let mut bytes = encoded(&full());
    prost::encoding::string::encode(900, &"new".to_owned(), &mut bytes);
    assert_eq!(Event::decode(&bytes), Ok(full()));
}

#[test]
fn a_field_in_another_form_is_refused() {
    use prost::encoding::{WireType, encode_key};
    for (tag, wire) in [
        (1, WireType::Varint),
        (3, WireType::SixtyFourBit),
        (9, WireType::Varint),
        (34, WireType::LengthDelimited),
    ] {
        let mut bytes = Vec::new();
        encode_key(tag, wire, &mut bytes);
        bytes.extend([8; 9]);
        assert_eq!(Event::decode(&bytes), Err(DecodeError::Field { tag }));
    }
    assert_eq!(Event::decode(&[0; 9]), Err(DecodeError::Field { tag: 0 }), "no field is number 0");
    assert_eq!(Event::decode(&[7; 9]), Err(DecodeError::Field { tag: 0 }), "no form is number 7");
}

#[test]
fn an_event_at_its_limits_fits_the_limit_of_events() {
    use event::limits::*;
    let agent = "a".repeat(USER_AGENT);
    let (header, word, target) = ("h".repeat(HEADER), "w".repeat(WORD), "t".repeat(TARGET));
    let event = Event {
        user_agent: &agent,
        accept: &header,
        accept_language: &header,
        referer: &header,
        via: &header,
        host: &header,
        sec_fetch_site: &word,
        sec_fetch_mode: &word,
        sec_fetch_dest: &word,
        sec_fetch_user: &word,
        sec_purpose: &word,
        purpose: &word,
        x_purpose: &word,
        x_moz: &word,
        target: &target,
        client_ip: &[255; 16],
        ..full()
    };
    assert!(event.encoded_len() < EVENT, "{}", event.encoded_len());
}

#[test]
fn a_broken_batch_yields_what_stands_before_the_break() {
    let mut batch = Vec::new();
    Batch::push(&mut batch, &encoded(&full()));
    batch.push(200);
    let events: Vec<_> = Batch::new(&batch).collect();
    assert_eq!(events.len(), 2);
    assert_eq!(events[0].map(Event::decode), Ok(Ok(full())));
    assert!(events[1].is_err());
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![Just(String::new()), "\\PC{0,40}"]
}

prop_compose! {
    fn events()(
        ids in any::<(u64, u64, u64, u64, u64)>(),
        times in any::<(i64, i64)>(),
        small in any::<(u32, u32, u32)>(),
        choices in (0..5i32, 0..3i32, 0..5i32, 0..3i32, 0..3i32),
        flags in any::<[bool; 4]>(),
        texts in proptest::collection::vec(text(), 17),
        client_ip in proptest::collection::vec(any::<u8>(), 0..17),
    ) -> proto::Event {
        let mut texts = texts.into_iter();
        let mut text = || texts.next().expect("one text a field");
        proto::Event {
            recipient: ids.0, edge_id: ids.1, seq: ids.2, message: ids.3, domain: ids.4,
            received_at_ms: times.0, sent_at_ms: times.1,
            workspace: small.0, link: small.1, http_version: small.2,
            kind: choices.0, position: choices.1, mode: choices.2, region: choices.3, method: choices.4,
            trap: flags[0], dnt: flags[1], sec_gpc: flags[2], replay: flags[3],
            target: text(), user_agent: text(), accept: text(), accept_language: text(), referer: text(),
            sec_fetch_site: text(), sec_fetch_mode: text(), sec_fetch_dest: text(), sec_fetch_user: text(),
            sec_purpose: text(), purpose: text(), x_purpose: text(), x_moz: text(), via: text(), host: text(),
            time_zone: text(), country: text(), client_ip,
        }
    }
}

proptest! {
    /// The borrowed form reads what the generated form writes, and writes the same bytes again.
    #[test]
    fn both_forms_have_the_same_bytes(owned in events()) {
        let bytes = owned.encode_to_vec();
        let borrowed = Event::decode(&bytes).unwrap();
        prop_assert_eq!(encoded(&borrowed), bytes.clone());
        prop_assert_eq!(borrowed.encoded_len(), bytes.len());
        prop_assert_eq!(event::recipient_of(&bytes), owned.recipient);
    }

    #[test]
    fn hostile_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = Event::decode(&bytes);
        prop_assert!(Batch::new(&bytes).count() <= bytes.len());
    }

    /// A cut event is an error or an event with fewer fields, never a panic, and a cut inside a batch is seen.
    #[test]
    fn a_cut_is_seen(owned in events(), at in any::<prop::sample::Index>()) {
        let mut batch = Vec::new();
        Batch::push(&mut batch, &owned.encode_to_vec());
        let at = at.index(batch.len());
        prop_assume!(at > 0);
        prop_assert!(Batch::new(&batch[..at]).any(|event| event.is_err()));
    }
}
