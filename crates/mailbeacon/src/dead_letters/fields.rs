//! The fields of an encoded event, as far as they can be followed: names, sizes, and only such values as tell nothing
//! about a person.

use serde::Serialize;

/// The contract itself: names are taken from it, so that none can be forgotten here.
const PROTO: &str = include_str!("../../../../proto/mailbeacon/v1/event.proto");
/// Numbers that stand for a person or a household.
const NEVER_SHOWN: [&str; 2] = ["recipient", "domain"];
/// `target`, the first field that is a text.
const FIRST_TEXT: u64 = 9;
/// More fields than an event has, several times over.
const FIELDS_MAX: usize = 200;

/// One field.
#[derive(Debug, PartialEq, Serialize)]
pub struct Field {
    /// Its number in the contract.
    pub tag: u64,
    /// Its name; empty for one that this program does not know.
    pub name: &'static str,
    /// Its value, or how long it is.
    pub shown: String,
}

/// Which values may be shown: where bytes stand in the wrong place, a number may be a part of anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Values {
    /// An event that can be decoded.
    All,
    /// One that cannot: only what stands before its first text, as long as the fields come in their order.
    Head,
    /// Bytes behind broken framing.
    Never,
}

/// The fields from the start on, and the byte at which the bytes stop being fields.
pub fn of(bytes: &[u8], values: Values) -> (Vec<Field>, Option<usize>) {
    let (mut fields, mut rest) = (Vec::new(), bytes);
    let mut head = 0;
    while !rest.is_empty() {
        let at = bytes.len() - rest.len();
        let Some((tag, value)) = field(&mut rest).filter(|_| fields.len() < FIELDS_MAX) else {
            return (fields, Some(at));
        };
        head = if tag > head && tag < FIRST_TEXT { tag } else { u64::MAX };
        let name = declared(tag).unwrap_or_default();
        let shown = match value {
            Value::Bytes(len) => format!("{len} bytes"),
            Value::Number(_) if NEVER_SHOWN.contains(&name) => "set".to_owned(),
            Value::Number(_) if values == Values::Never || (values == Values::Head && head == u64::MAX) => {
                "a number".to_owned()
            }
            // Of a field that is not known nothing is known: its value may be anybody.
            Value::Number(_) if name.is_empty() => "a number".to_owned(),
            Value::Number(edge_id) if name == "edge_id" => format!("{edge_id:016x}"),
            Value::Number(value) => value.to_string(),
        };
        fields.push(Field { tag, name, shown });
    }
    (fields, None)
}

/// Edge id and number at the head of an event that cannot be decoded; none unless both stand where they belong.
pub fn name_at_head(bytes: &[u8]) -> Option<(u64, u64)> {
    let mut rest = bytes;
    let mut next = |wanted: u64| loop {
        match field(&mut rest)? {
            (tag, Value::Number(value)) if tag == wanted => return Some(value),
            (tag, Value::Number(_)) if tag < wanted => (),
            _ => return None,
        }
    };
    Some((next(2)?, next(3)?))
}

enum Value {
    Number(u64),
    /// A text, bytes or a message, of this length.
    Bytes(usize),
}

fn field(rest: &mut &[u8]) -> Option<(u64, Value)> {
    let key = varint(rest)?;
    let (tag, wire) = (key >> 3, key & 7);
    let value = match wire {
        0 => Value::Number(varint(rest)?),
        1 => Value::Number(fixed64(rest)?),
        2 => {
            let len = usize::try_from(varint(rest)?).ok()?;
            *rest = rest.get(len..)?;
            Value::Bytes(len)
        }
        5 => {
            *rest = rest.get(4..)?;
            Value::Bytes(4)
        }
        _ => return None,
    };
    (tag != 0).then_some((tag, value))
}

fn varint(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (byte, left) = rest.split_first()?;
        *rest = left;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

fn fixed64(rest: &mut &[u8]) -> Option<u64> {
    let (bytes, left) = rest.split_first_chunk()?;
    *rest = left;
    Some(u64::from_le_bytes(*bytes))
}

/// The name of a field of `message Event`.
fn declared(tag: u64) -> Option<&'static str> {
    let (_, event) = PROTO.split_once("message Event {")?;
    event.lines().find_map(|line| {
        let (declaration, number) = line.trim().split_once(';')?.0.split_once(" = ")?;
        (number.parse() == Ok(tag)).then_some(())?;
        Some(declaration.split_once(' ')?.1)
    })
}

#[cfg(test)]
mod tests {
    use event::{Event, Kind};

    use super::*;

    #[test]
    fn a_person_is_never_shown() {
        let event = Event {
            recipient: 987_654_321,
            domain: 123_456_789,
            edge_id: 0xab,
            seq: 5,
            kind: Kind::Click,
            user_agent: "secret agent",
            client_ip: &[203, 0, 113, 9],
            ..Event::default()
        };
        let mut bytes = Vec::new();
        event.encode(&mut bytes);
        let (fields, broken) = of(&bytes, Values::All);
        assert_eq!(broken, None);
        let shown: Vec<String> = fields.iter().map(|f| format!("{}={}", f.name, f.shown)).collect();
        assert_eq!(
            shown,
            [
                "recipient=set",
                "edge_id=00000000000000ab",
                "seq=5",
                "kind=3",
                "user_agent=12 bytes",
                "client_ip=4 bytes",
                "domain=set"
            ]
        );
    }

    #[test]
    fn of_what_cannot_be_decoded_only_the_head_is_shown() {
        let mut bytes = Vec::new();
        Event { edge_id: 0xab, seq: 5, kind: Kind::Click, ..Event::default() }.encode(&mut bytes);
        let shown = |bytes: &[u8], values| -> Vec<String> {
            of(bytes, values).0.into_iter().map(|field| field.shown).collect()
        };
        // The same fields once more, as bytes in the wrong place would look.
        let twice = [&bytes[..], &bytes].concat();
        let head = ["00000000000000ab", "5", "3"];
        assert_eq!(shown(&twice, Values::Head), [&head[..], &["a number"; 3]].concat());
        assert_eq!(shown(&twice, Values::Never), ["a number"; 6]);
        assert_eq!(name_at_head(&twice), Some((0xab, 5)));
        assert_eq!(name_at_head(&bytes[9..]), None);
        let text_first = [b"\x82\x01\x02ab", &bytes[..]].concat();
        assert_eq!(
            (shown(&text_first, Values::Head)[1].as_str(), name_at_head(&text_first)),
            ("a number", None)
        );
    }

    #[test]
    fn every_field_of_the_contract_has_its_name() {
        for tag in 1..=37 {
            assert!(declared(tag).is_some(), "{tag}");
        }
        assert_eq!((declared(31), declared(38)), (Some("client_ip"), None));
    }

    #[test]
    fn bytes_that_are_no_fields_end_it() {
        for (bytes, count, broken) in [
            (&b"\x18\x05\xff"[..], 1, Some(2)),
            (b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", 0, Some(0)),
            (b"\x82\x01\x09ab", 0, Some(0)),
            (b"\x09\x01", 0, Some(0)),
            (b"\x05\x01\x02\x03\x04", 0, Some(0)),
            (b"\xc0\x3e\x07", 1, None),
            (b"", 0, None),
        ] {
            let (fields, at) = of(bytes, Values::All);
            assert_eq!((fields.len(), at), (count, broken), "{bytes:?}");
        }
        assert_eq!(of(b"\xc0\x3e\x07", Values::All).0[0].shown, "a number", "a field of a newer writer");
    }
}
