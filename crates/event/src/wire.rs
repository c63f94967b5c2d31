//! The borrowed event: encode and decode without allocating.

use prost::encoding::{
    DecodeContext, WireType, decode_varint, encode_key, encode_varint, encoded_len_varint, key_len,
    skip_field,
};

use crate::proto::{Kind, Method, Mode, Position, Region};

/// Why bytes are not an event or a batch of events.
#[derive(Debug, thiserror::Error, PartialEq, Eq, Clone, Copy)]
pub enum DecodeError {
    /// The bytes end inside a field or inside an event.
    #[error("truncated at byte {at} of {len}")]
    Truncated {
        /// Where the reader stood.
        at: usize,
        /// How many bytes there are.
        len: usize,
    },
    /// A field has a form that the contract does not know.
    #[error("field {tag} cannot be read")]
    Field {
        /// The field's number; 0 when the key itself is broken.
        tag: u32,
    },
    /// A text is not UTF-8.
    #[error("field {tag} is not UTF-8")]
    Utf8 {
        /// The field's number.
        tag: u32,
    },
}

/// Declares [`Event`] with its encoder and decoder from one table, so that no field can be forgotten in either.
macro_rules! event {
    ($( $(#[$doc:meta])* $tag:literal $name:ident : $form:ident $(<$ty:ty>)? ),* $(,)?) => {
        /// One engagement event, or a `sent` one, as it stands on the wire. The fields are described in
        /// `proto/mailbeacon/v1/event.proto`; an absent field has its default value.
        #[derive(Debug, Clone, Copy, Default, PartialEq)]
        #[allow(missing_docs, reason = "documented in the .proto file")]
        pub struct Event<'a> {
            $( $(#[$doc])* pub $name: form!(type 'a $form $(<$ty>)?), )*
        }

        impl<'a> Event<'a> {
            /// Appends the protobuf encoding, without a length before it.
            pub fn encode(&self, out: &mut Vec<u8>) {
                $( form!(encode $form, $tag, self.$name, out); )*
            }

            /// The length of what [`Event::encode`] appends.
            pub fn encoded_len(&self) -> usize {
                0 $( + form!(len $form, $tag, self.$name) )*
            }

            /// Reads one event that fills `bytes`. Unknown fields are skipped; a repeated field's last value wins.
            ///
            /// # Errors
            /// When the bytes are not the encoding of an event: nothing of it can be trusted then.
            pub fn decode(bytes: &'a [u8]) -> Result<Event<'a>, DecodeError> {
                let mut event = Event::default();
                let mut rest = bytes;
                while !rest.is_empty() {
                    // Number and form in one comparison.
                    let found: u32 = varint(&mut rest, 0)?;
                    match found {
                        $( _ if found == const { key($tag, form!(wire $form)) } => {
                            event.$name = form!(decode $form, $tag, rest, bytes $(, $ty)?);
                        } )*
                        _ => match split_key(found)? {
                            (tag, _) if [$( $tag ),*].contains(&tag) => return Err(DecodeError::Field { tag }),
                            (tag, wire) => skip_field(wire, tag, &mut rest, DecodeContext::default())
                                .map_err(|_| DecodeError::Field { tag })?,
                        },
                    }
                }
                Ok(event)
            }
        }
    };
}

/// What each form of field is in Rust and on the wire.
macro_rules! form {
    (type $lt:lifetime fixed64) => { u64 };
    (type $lt:lifetime uint64) => { u64 };
    (type $lt:lifetime uint32) => { u32 };
    (type $lt:lifetime int64) => { i64 };
    (type $lt:lifetime bool) => { bool };
    (type $lt:lifetime string) => { &$lt str };
    (type $lt:lifetime bytes) => { &$lt [u8] };
    (type $lt:lifetime choice<$ty:ty>) => { $ty };

    (wire fixed64) => { WireType::SixtyFourBit };
    (wire string) => { WireType::LengthDelimited };
    (wire bytes) => { WireType::LengthDelimited };
    (wire $varint:ident) => { WireType::Varint };

    (encode fixed64, $tag:literal, $value:expr, $out:ident) => {
        if $value != 0 {
            put_varint(const { key($tag, form!(wire fixed64)) as u64 }, $out);
            $out.extend_from_slice(&$value.to_le_bytes());
        }
    };
    (encode string, $tag:literal, $value:expr, $out:ident) => {
        form!(encode bytes, $tag, $value.as_bytes(), $out)
    };
    (encode bytes, $tag:literal, $value:expr, $out:ident) => {
        if !$value.is_empty() {
            put_varint(const { key($tag, form!(wire bytes)) as u64 }, $out);
            put_varint($value.len() as u64, $out);
            $out.extend_from_slice($value);
        }
    };
    (encode $varint:ident, $tag:literal, $value:expr, $out:ident) => {
        if $value as u64 != 0 {
            put_varint(const { key($tag, form!(wire $varint)) as u64 }, $out);
            put_varint($value as u64, $out);
        }
    };

    (len fixed64, $tag:literal, $value:expr) => {
        if $value != 0 { key_len($tag) + 8 } else { 0 }
    };
    (len string, $tag:literal, $value:expr) => { form!(len bytes, $tag, $value) };
    (len bytes, $tag:literal, $value:expr) => {
        if $value.is_empty() { 0 } else { key_len($tag) + encoded_len_varint($value.len() as u64) + $value.len() }
    };
    (len $varint:ident, $tag:literal, $value:expr) => {
        if $value as u64 != 0 { key_len($tag) + encoded_len_varint($value as u64) } else { 0 }
    };

    (decode fixed64, $tag:literal, $rest:ident, $all:ident) => {
        u64::from_le_bytes(take(&mut $rest, 8, $all)?.try_into().expect("eight bytes were taken"))
    };
    (decode string, $tag:literal, $rest:ident, $all:ident) => {
        std::str::from_utf8(form!(decode bytes, $tag, $rest, $all))
            .map_err(|_| DecodeError::Utf8 { tag: $tag })?
    };
    (decode bytes, $tag:literal, $rest:ident, $all:ident) => {{
        let len = varint(&mut $rest, $tag)?;
        take(&mut $rest, len, $all)?
    }};
    // An unknown value is a newer writer's: it is read as unspecified, as proto3 readers without open enums do.
    (decode choice, $tag:literal, $rest:ident, $all:ident, $ty:ty) => {
        <$ty>::try_from(varint::<i32>(&mut $rest, $tag)?).unwrap_or_default()
    };
    (decode bool, $tag:literal, $rest:ident, $all:ident) => { varint::<u64>(&mut $rest, $tag)? != 0 };
    (decode uint32, $tag:literal, $rest:ident, $all:ident) => { varint::<u32>(&mut $rest, $tag)? };
    (decode $varint:ident, $tag:literal, $rest:ident, $all:ident) => {
        varint::<u64>(&mut $rest, $tag)? as form!(type 'static $varint)
    };
}

event! {
    1 recipient: fixed64,
    2 edge_id: fixed64,
    3 seq: uint64,
    4 kind: choice<Kind>,
    5 received_at_ms: int64,
    6 workspace: uint32,
    7 message: uint64,
    8 link: uint32,
    9 target: string,
    10 sent_at_ms: int64,
    11 position: choice<Position>,
    12 mode: choice<Mode>,
    13 region: choice<Region>,
    14 trap: bool,
    15 method: choice<Method>,
    16 user_agent: string,
    17 accept: string,
    18 accept_language: string,
    19 referer: string,
    20 sec_fetch_site: string,
    21 sec_fetch_mode: string,
    22 sec_fetch_dest: string,
    23 sec_fetch_user: string,
    24 sec_purpose: string,
    25 purpose: string,
    26 x_purpose: string,
    27 x_moz: string,
    28 via: string,
    29 host: string,
    30 http_version: uint32,
    31 client_ip: bytes,
    32 dnt: bool,
    33 sec_gpc: bool,
    34 replay: bool,
    35 time_zone: string,
    36 country: string,
    37 domain: fixed64,
}

/// The key of a field, as it stands before its value.
const fn key(tag: u32, wire: WireType) -> u32 {
    tag << 3 | wire as u32
}

/// Number and form of a field.
fn split_key(key: u32) -> Result<(u32, WireType), DecodeError> {
    let wire = WireType::try_from(u64::from(key & 7)).map_err(|_| DecodeError::Field { tag: 0 })?;
    match key >> 3 {
        0 => Err(DecodeError::Field { tag: 0 }),
        tag => Ok((tag, wire)),
    }
}

/// As `prost` has it, but compiled in place: nearly all of an event's numbers are of one byte or two, and the call for
/// each was a third of what it costs to encode.
#[inline(always)]
fn put_varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Marks an encoded event as replayed by adding one field at its end: of a repeated field the last value wins.
pub fn mark_replay(event: &mut Vec<u8>) {
    encode_key(34, WireType::Varint, event);
    encode_varint(1, event);
}

/// A batch of events: each preceded by its length as a varint, back to back.
///
/// Iterating yields the encoded events; a broken length yields one error and ends the batch, since nothing after
/// it can be found.
#[derive(Debug, Clone)]
pub struct Batch<'a> {
    all: &'a [u8],
    rest: &'a [u8],
}

impl<'a> Batch<'a> {
    /// The batch that fills `bytes`.
    pub fn new(bytes: &'a [u8]) -> Self {
        Batch { all: bytes, rest: bytes }
    }

    /// Appends an encoded event to a batch.
    pub fn push(batch: &mut Vec<u8>, event: &[u8]) {
        encode_varint(event.len() as u64, batch);
        batch.extend_from_slice(event);
    }
}

impl<'a> Iterator for Batch<'a> {
    type Item = Result<&'a [u8], DecodeError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let event = varint(&mut self.rest, 0).and_then(|len| take(&mut self.rest, len, self.all));
        if event.is_err() {
            self.rest = &[];
        }
        Some(event)
    }
}

/// In place for one byte or two, which nearly all are.
#[inline(always)]
fn varint<T: TryFrom<u64>>(rest: &mut &[u8], tag: u32) -> Result<T, DecodeError> {
    let value = match **rest {
        [only @ 0..=0x7f, ref left @ ..] => {
            *rest = left;
            u64::from(only)
        }
        [low @ 0x80..=0xff, high @ 0..=0x7f, ref left @ ..] => {
            *rest = left;
            u64::from(low & 0x7f) | u64::from(high) << 7
        }
        _ => decode_varint(rest).map_err(|_| DecodeError::Field { tag })?,
    };
    T::try_from(value).map_err(|_| DecodeError::Field { tag })
}

#[inline(always)]
fn take<'a>(rest: &mut &'a [u8], len: usize, all: &[u8]) -> Result<&'a [u8], DecodeError> {
    let (taken, left) = rest
        .split_at_checked(len)
        .ok_or(DecodeError::Truncated { at: all.len() - rest.len(), len: all.len() })?;
    *rest = left;
    Ok(taken)
}
