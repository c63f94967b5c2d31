//! What is sealed in a token, byte by byte.
//!
//! ```text
//! flags (2 bytes, little endian): scheme:2 position:2 mode:3 region:2 trap:1 wide message:1 recipient:1 zero:4
//! workspace  varint
//! message    varint below 2^56, else 8 bytes little endian (a hash: a varint would take 9 or 10)
//! recipient  8 bytes little endian, absent when 0
//! link       varint
//! sent       varint, seconds since 1970, 0 when unknown
//! target     the rest: the URL behind its scheme
//! ```
//!
//! One link has one form: whatever else decodes is refused, so that a payload stays what its seal says.

use event::{Kind, Mode, Position, Region};

use crate::mint::Link;

/// The payload of a link that [`Link::checked`] let pass.
pub(crate) fn encode(link: &Link) -> Vec<u8> {
    let (scheme, rest) = split_scheme(&link.target);
    let wide = link.message >= WIDE;
    let flags = scheme
        | (link.position as u16) << 2
        | (link.mode as u16) << 4
        | (link.region as u16) << 7
        | u16::from(link.trap) << 9
        | u16::from(wide) << 10
        | u16::from(link.recipient != 0) << 11;
    let mut out = Vec::with_capacity(FIXED_BYTES_MAX + rest.len());
    out.extend_from_slice(&flags.to_le_bytes());
    put_varint(link.workspace.into(), &mut out);
    match wide {
        true => out.extend_from_slice(&link.message.to_le_bytes()),
        false => put_varint(link.message, &mut out),
    }
    if link.recipient != 0 {
        out.extend_from_slice(&link.recipient.to_le_bytes());
    }
    put_varint(link.link.into(), &mut out);
    put_varint(link.sent_at_ms.unsigned_abs() / 1_000, &mut out);
    out.extend_from_slice(rest.as_bytes());
    out
}

/// The link in a payload, or nothing when the payload is not exactly what [`encode`] writes.
pub(crate) fn decode(kind: Kind, payload: &[u8]) -> Option<Link> {
    let mut rest = payload;
    let flags = u16::from_le_bytes(take(&mut rest)?);
    if flags >> 12 != 0 {
        return None;
    }
    let workspace = u32::try_from(varint(&mut rest)?).ok()?;
    let wide = flags >> 10 & 1 == 1;
    let message = if wide { u64::from_le_bytes(take(&mut rest)?) } else { varint(&mut rest)? };
    let with_recipient = flags >> 11 & 1 == 1;
    let recipient = if with_recipient { u64::from_le_bytes(take(&mut rest)?) } else { 0 };
    if wide != (message >= WIDE) || with_recipient != (recipient != 0) {
        return None;
    }
    let link = u32::try_from(varint(&mut rest)?).ok()?;
    let sent_at_ms = i64::try_from(varint(&mut rest)?).ok()?.checked_mul(1_000)?;
    let target = match SCHEMES.get(usize::from(flags & 3))? {
        &"" if rest.is_empty() => String::new(),
        &"" => return None,
        scheme => [scheme, std::str::from_utf8(rest).ok()?].concat(),
    };
    if target.is_empty() != (kind == Kind::Open) {
        return None;
    }
    Some(Link {
        kind,
        workspace,
        message,
        recipient,
        link,
        target,
        sent_at_ms,
        position: Position::try_from(i32::from(flags >> 2 & 3)).ok()?,
        mode: Mode::try_from(i32::from(flags >> 4 & 7)).ok()?,
        region: Region::try_from(i32::from(flags >> 7 & 3)).ok()?,
        trap: flags >> 9 & 1 == 1,
    })
}

/// Only these can leave a token again, whatever is sealed.
const SCHEMES: [&str; 3] = ["", "http://", "https://"];
/// From here on a message is written in eight bytes.
const WIDE: u64 = 1 << 56;
/// All fields but the target, at their longest.
const FIXED_BYTES_MAX: usize = 2 + 5 + 8 + 8 + 5 + 10;

fn split_scheme(target: &str) -> (u16, &str) {
    for (number, scheme) in [(1, SCHEMES[1]), (2, SCHEMES[2])] {
        if let Some(rest) = target.strip_prefix(scheme) {
            return (number, rest);
        }
    }
    (0, "")
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, left) = rest.split_first_chunk::<N>()?;
    *rest = left;
    Some(*taken)
}

fn put_varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Reads the shortest form only: no zero byte at the end, nothing beyond 64 bits.
fn varint(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let [byte] = take(rest)?;
        let part = u64::from(byte & 0x7f);
        if part << shift >> shift != part || (byte == 0 && shift > 0) {
            return None;
        }
        value |= part << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_decodes_is_what_is_encoded(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            for kind in [Kind::Open, Kind::Click] {
                if let Some(link) = decode(kind, &bytes) {
                    prop_assert_eq!(encode(&link), bytes.clone());
                }
            }
        }
    }

    #[test]
    fn a_varint_has_one_form() {
        for (bytes, value) in [
            (&[0x00][..], Some(0)),
            (&[0x80, 0x00], None),
            (&[0xff, 0x01], Some(255)),
            (&[0xff; 9], None),
            (&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01], Some(u64::MAX)),
            (&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x03], None),
            (&[], None),
        ] {
            assert_eq!(varint(&mut &bytes[..]), value, "{bytes:?}");
        }
    }
}
