//! The fields of an encoded event, as far as they can be followed: names, sizes, and only such values as tell nothing
//! about a person.

use serde::Serialize;

/// The contract itself: names are taken from it, so that none can be forgotten here.
const PROTO: &str = include_str!("../../../../proto/mailbeacon/v1/event.proto");
/// Numbers that stand for a person or a household.
const NEVER_SHOWN: [&str; 2] = ["recipient", "domain"];
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

/// The fields from the start on, and the byte at which the bytes stop being fields.
pub fn of(bytes: &[u8]) -> (Vec<Field>, Option<usize>) {
    let (mut fields, mut rest) = (Vec::new(), bytes);
    while !rest.is_empty() {
        let at = bytes.len() - rest.len();
        match field(&mut rest) {
            Some(field) if fields.len() < FIELDS_MAX => fields.push(field),
            _ => return (fields, Some(at)),
        }
    }
    (fields, None)
}

fn field(rest: &mut &[u8]) -> Option<Field> {
    let key = varint(rest)?;
    let (tag, wire) = (key >> 3, key & 7);
    let (kind, name) = declared(tag).unwrap_or_default();
    let shown = match wire {
        0 => number(name, varint(rest)?),
        1 => match kind {
            "fixed64" if name == "edge_id" => format!("{:016x}", fixed64(rest)?),
            _ => number(name, fixed64(rest)?),
        },
        2 => {
            let len = usize::try_from(varint(rest)?).ok()?;
            *rest = rest.get(len..)?;
            format!("{len} bytes")
        }
        5 => {
            *rest = rest.get(4..)?;
            "4 bytes".to_owned()
        }
        _ => return None,
    };
    (tag != 0).then_some(Field { tag, name, shown })
}

/// Of a field that is not known nothing is known: its value may be anybody.
fn number(name: &str, value: u64) -> String {
    match name {
        "" => "a number".to_owned(),
        name if NEVER_SHOWN.contains(&name) => "set".to_owned(),
        _ => value.to_string(),
    }
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

/// Type and name of a field of `message Event`.
fn declared(tag: u64) -> Option<(&'static str, &'static str)> {
    let (_, event) = PROTO.split_once("message Event {")?;
    event.lines().find_map(|line| {
        let (declaration, number) = line.trim().split_once(';')?.0.split_once(" = ")?;
        (number.parse() == Ok(tag)).then_some(())?;
        declaration.split_once(' ')
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
        let (fields, broken) = of(&bytes);
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
    fn every_field_of_the_contract_has_its_name() {
        for tag in 1..=37 {
            assert!(declared(tag).is_some(), "{tag}");
        }
        assert_eq!((declared(31), declared(38)), (Some(("bytes", "client_ip")), None));
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
            let (fields, at) = of(bytes);
            assert_eq!((fields.len(), at), (count, broken), "{bytes:?}");
        }
        assert_eq!(of(b"\xc0\x3e\x07").0[0].shown, "a number", "a field of a newer writer");
    }
}
