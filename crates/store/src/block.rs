//! Rows of `events` as a block in ClickHouse's Native format.
//!
//! Column by column, encoded at push: Native costs the server two thirds of RowBinary per row. Over HTTP without a
//! protocol version a block is the numbers of columns and rows, then for each column its name, its type and its
//! values, little-endian. The server converts a column whose type differs from the table's: enums are sent as the
//! numbers they are. Names, of which there are few, are sent as `LowCardinality`, each once in a block: that takes half the
//! bytes, and a quarter off what the server pays for a row.

use std::collections::HashMap;

use bytes::{BufMut, Bytes, BytesMut};
use foldhash::fast::RandomState;

/// Declares [`Row`] and how its fields become columns from one table, so that none can be forgotten.
macro_rules! row {
    ($( $(#[$doc:meta])* $name:ident : $form:ident = $default:expr => $column:literal $ty:expr ),* $(,)?) => {
        /// One event as it is stored: a field for each column of `events`.
        #[derive(Debug, Clone, Copy, PartialEq)]
        pub struct Row<'a> {
            $( $(#[$doc])* pub $name: form!(type 'a $form), )*
        }

        impl Default for Row<'_> {
            /// All unknown.
            fn default() -> Self {
                Row { $( $name: $default, )* }
            }
        }

        impl Row<'_> {
            /// Name and wire type of each column, in the order of the fields.
            pub const COLUMNS: &'static [(&'static str, &'static str)] = &[ $( ($column, $ty), )* ];

            fn encode(&self, columns: &mut [Column]) {
                let mut columns = columns.iter_mut();
                $( if let Some(column) = columns.next() { form!(put $form, self.$name, column); } )*
            }
        }
    };
}

/// What each form of field is in Rust and in a column.
macro_rules! form {
    (type $lt:lifetime text) => { &$lt str };
    (type $lt:lifetime name) => { &$lt str };
    (type $lt:lifetime texts) => { &$lt [&$lt str] };
    (type $lt:lifetime corrections) => { &$lt [Correction] };
    (type $lt:lifetime address) => { [u8; 16] };
    (type $lt:lifetime seconds) => { i64 };
    (type $lt:lifetime $plain:ident) => { $plain };

    (put text, $value:expr, $column:ident) => { put_text(&mut $column.values, $value) };
    (put name, $value:expr, $column:ident) => {{
        let at = $column.names.number($value);
        $column.values.extend_from_slice(&at.to_le_bytes());
    }};
    (put texts, $value:expr, $column:ident) => {{
        $column.elements += $value.len() as u64;
        $column.values.extend_from_slice(&$column.elements.to_le_bytes());
        for text in $value {
            put_text($column.element(0), text);
        }
    }};
    (put corrections, $value:expr, $column:ident) => {{
        $column.elements += $value.len() as u64;
        $column.values.extend_from_slice(&$column.elements.to_le_bytes());
        for correction in $value {
            correction.encode($column);
        }
    }};
    (put address, $value:expr, $column:ident) => { $column.values.extend_from_slice(&$value) };
    (put bool, $value:expr, $column:ident) => { $column.values.push($value as u8) };
    (put seconds, $value:expr, $column:ident) => {
        $column.values.extend_from_slice(&u32::try_from($value / 1_000).unwrap_or(0).to_le_bytes())
    };
    (put $plain:ident, $value:expr, $column:ident) => { $column.values.extend_from_slice(&$value.to_le_bytes()) };
}

row! {
    /// Workspace: the tenant that sent the message.
    workspace: u32 = 0 => "workspace" "UInt32",
    /// The sender's message.
    message: u64 = 0 => "message" "UInt64",
    /// Keyed hash of the sender's recipient id; 0 when it may not be known.
    recipient: u64 = 0 => "recipient" "UInt64",
    /// When the edge received it, Unix time in milliseconds, of the block's month.
    received_at_ms: i64 = 0 => "received_at" "DateTime64(3, 'UTC')",
    /// As on the wire: 1 sent, 2 open, 3 click, 4 download. The table rejects any other.
    kind: u8 = 0 => "kind" "Int8",
    /// Number of the link in the message, from 1; 0 for an open.
    link: u32 = 0 => "link" "UInt32",
    /// Where a click or a download went.
    target: text = "" => "target" "String",
    /// When the message was sent, Unix time in milliseconds, stored to the second; 0 when unknown.
    sent_at_ms: seconds = 0 => "sent_at" "DateTime('UTC')",
    /// As on the wire: 1 top, 2 bottom.
    position: u8 = 0 => "position" "Int8",
    /// As on the wire: 1 full, 2 anonymous, 3 date, 4 off.
    mode: u8 = 0 => "mode" "Int8",
    /// As on the wire: 1 eu, 2 other.
    region_claim: u8 = 0 => "region_claim" "Int8",
    /// A link that no person sees.
    trap: bool = false => "trap" "Bool",
    /// As on the wire: 1 GET, 2 HEAD.
    method: u8 = 0 => "method" "Int8",
    /// 1 human, 2 proxy, 3 prefetch, 4 scanner, 5 bot; 0 for sent.
    verdict: u8 = 0 => "verdict" "Int8",
    /// Codes of the rules that spoke, the decisive one first.
    reasons: texts = &[] => "reasons" "Array(String)",
    /// 1 weak, 2 probable, 3 certain.
    confidence: u8 = 0 => "confidence" "Int8",
    /// Version of the rules behind the verdict.
    ruleset: u16 = 0 => "ruleset" "UInt16",
    /// Who runs the network of the address; empty when it is no known one.
    network: name = "" => "network" NAME,
    /// 1 phone, 2 tablet, 3 desktop, 4 tv, 5 console, 6 wearable, 7 other.
    device: u8 = 0 => "device" "Int8",
    /// Operating system; empty when unknown.
    os: name = "" => "os" NAME,
    /// Its version.
    os_version: name = "" => "os_version" NAME,
    /// Mail client or browser; empty when unknown.
    client: name = "" => "client" NAME,
    /// Its version.
    client_version: name = "" => "client_version" NAME,
    /// How far device, os and client may be believed: 1 low, 2 high.
    device_trust: u8 = 0 => "device_trust" "Int8",
    /// ISO 3166-1 alpha-2 code from the address; empty when unknown.
    country: name = "" => "country" NAME,
    /// First subdivision of the country.
    region: name = "" => "region" NAME,
    /// City.
    city: name = "" => "city" NAME,
    /// Degrees north; NaN when unknown.
    latitude: f32 = f32::NAN => "latitude" "Float32",
    /// Degrees east; NaN when unknown.
    longitude: f32 = f32::NAN => "longitude" "Float32",
    /// Radius around the coordinates in kilometres; 0 when unknown.
    accuracy_km: u16 = 0 => "accuracy_km" "UInt16",
    /// IANA time zone that `local_hour` and `local_weekday` are in; empty when unknown.
    time_zone: name = "" => "time_zone" NAME,
    /// How far the place may be believed: 1 low, 2 high.
    geo_trust: u8 = 0 => "geo_trust" "Int8",
    /// Which geographic data was used.
    geo_version: name = "" => "geo_version" NAME,
    /// The recipient's region by all evidence of this event: 1 eu, 2 other.
    region_class: u8 = 0 => "region_class" "Int8",
    /// Hour of the day in `time_zone`, 0 to 23; 255 when unknown.
    local_hour: u8 = 255 => "local_hour" "UInt8",
    /// Day of the week in `time_zone`, 1 (Monday) to 7; 0 when unknown.
    local_weekday: u8 = 0 => "local_weekday" "UInt8",
    /// Client address as IPv6 (IPv4 as `::ffff:a.b.c.d`), truncated by policy; all zero when unknown.
    address: address = [0; 16] => "address" "IPv6",
    /// `User-Agent` header.
    user_agent: name = "" => "user_agent" NAME,
    /// `Accept-Language` header.
    accept_language: name = "" => "accept_language" NAME,
    /// `Referer` header.
    referer: text = "" => "referer" "String",
    /// `Host` header.
    host: name = "" => "host" NAME,
    /// HTTP version: 10, 11 or 20; 0 when unknown.
    http_version: u8 = 0 => "http_version" "UInt8",
    /// The client sent `DNT: 1`.
    dnt: bool = false => "dnt" "Bool",
    /// The client sent `Sec-GPC: 1`.
    sec_gpc: bool = false => "sec_gpc" "Bool",
    /// The event left the edge's journal more than once.
    replay: bool = false => "replay" "Bool",
    /// Keyed hash of the recipient's mail domain, on sent; 0 when unknown.
    domain: u64 = 0 => "domain" "UInt64",
    /// Country that the sender has on file, on sent.
    profile_country: name = "" => "profile_country" NAME,
    /// Time zone that the sender has on file, on sent.
    profile_time_zone: name = "" => "profile_time_zone" NAME,
    /// What this event says of earlier ones.
    corrects: corrections = &[] => "corrects" CORRECTIONS,
    /// The source: a Kafka topic or a journal.
    k_topic: name = "" => "k_topic" NAME,
    /// Partition of the source.
    k_part: u32 = 0 => "k_part" "UInt32",
    /// Offset of the message that carried the event.
    k_off: u64 = 0 => "k_off" "UInt64",
    /// The edge that received the event.
    edge_id: u64 = 0 => "edge_id" "UInt64",
    /// Number of the event at its edge.
    seq: u64 = 0 => "seq" "UInt64",
}

/// What an event says of an earlier one of the same message.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Correction {
    /// The earlier event's edge.
    pub edge_id: u64,
    /// Its number there.
    pub seq: u64,
    /// When it was received, Unix time in milliseconds.
    pub received_at_ms: i64,
    /// Its recipient.
    pub recipient: u64,
    /// As on the wire.
    pub kind: u8,
    /// Number of its link.
    pub link: u32,
    /// Its verdict from now on, as in [`Row::verdict`].
    pub verdict: u8,
    /// How sure that is, as in [`Row::confidence`].
    pub confidence: u8,
    /// Code of the rule.
    pub reason: &'static str,
}

/// The wire type of a column of names.
const NAME: &str = "LowCardinality(String)";

/// The wire type of a column of corrections.
const CORRECTIONS: &str = "Array(Tuple(edge_id UInt64, seq UInt64, received_at DateTime64(3, 'UTC'), recipient UInt64, \
     kind Int8, link UInt32, verdict Int8, confidence Int8, reason String))";

impl Correction {
    fn encode(&self, column: &mut Column) {
        let Correction { edge_id, seq, received_at_ms, recipient, kind, link, verdict, confidence, reason } =
            self;
        column.element(0).extend_from_slice(&edge_id.to_le_bytes());
        column.element(1).extend_from_slice(&seq.to_le_bytes());
        column.element(2).extend_from_slice(&received_at_ms.to_le_bytes());
        column.element(3).extend_from_slice(&recipient.to_le_bytes());
        column.element(4).push(*kind);
        column.element(5).extend_from_slice(&link.to_le_bytes());
        column.element(6).push(*verdict);
        column.element(7).push(*confidence);
        put_text(column.element(8), reason);
    }
}

/// Rows of one month, on their way to one insert. Emptied by [`Block::finish`] and then used again.
#[derive(Debug)]
pub struct Block {
    /// The month's milliseconds of Unix time.
    span_ms: std::ops::Range<i64>,
    rows: usize,
    columns: Vec<Column>,
}

#[derive(Debug, Clone, Default)]
struct Column {
    /// In a column of names their numbers, of four bytes each.
    values: Vec<u8>,
    names: Names,
    /// The elements of arrays, or each member of an array of tuples; `values` then holds how many elements there are
    /// up to each row.
    nested: Vec<Vec<u8>>,
    elements: u64,
}

/// Texts, each once. Number 0 is the empty one.
#[derive(Debug, Clone, Default)]
struct Names {
    numbers: HashMap<Box<str>, u32, RandomState>,
    /// From number 1 on, as they are sent.
    texts: Vec<u8>,
}

impl Names {
    fn number(&mut self, text: &str) -> u32 {
        if text.is_empty() {
            return 0;
        }
        if let Some(number) = self.numbers.get(text) {
            return *number;
        }
        let number = self.numbers.len() as u32 + 1;
        self.numbers.insert(text.into(), number);
        put_text(&mut self.texts, text);
        number
    }

    /// In memory, where each text is there twice.
    fn bytes(&self) -> usize {
        2 * self.texts.len() + self.numbers.len() * size_of::<(Box<str>, u32)>()
    }

    fn clear(&mut self) {
        self.numbers.clear();
        self.texts.clear();
    }

    /// In the order of their numbers.
    fn in_order(&self) -> Vec<&str> {
        let mut all = vec![""; self.numbers.len() + 1];
        self.numbers.iter().for_each(|(text, number)| all[*number as usize] = text);
        all
    }
}

impl Column {
    fn element(&mut self, member: usize) -> &mut Vec<u8> {
        if self.nested.len() <= member {
            self.nested.resize_with(member + 1, Vec::new);
        }
        &mut self.nested[member]
    }

    /// Of an array, how many elements there are up to each row.
    fn ends(&self) -> impl Iterator<Item = u64> {
        self.values.as_chunks().0.iter().map(|end| u64::from_le_bytes(*end))
    }
}

impl Block {
    /// An empty block for rows of a month, as [`month`] gives it.
    pub fn new(month: u32) -> Block {
        Block { span_ms: span_ms(month), rows: 0, columns: vec![Column::default(); Row::COLUMNS.len()] }
    }

    /// Appends a row.
    ///
    /// # Panics
    /// When the row is of another month: the insert would fall into two ClickHouse partitions, of which one can
    /// land without the other.
    pub fn push(&mut self, row: &Row<'_>) {
        assert!(self.span_ms.contains(&row.received_at_ms), "a block holds rows of one month");
        row.encode(&mut self.columns);
        self.rows += 1;
    }

    /// How many rows there are.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// How many bytes the rows take so far, in memory and near enough on the wire before compression.
    pub fn bytes(&self) -> usize {
        self.columns
            .iter()
            .map(|column| {
                let nested: usize = column.nested.iter().map(Vec::len).sum();
                column.values.len() + column.names.bytes() + nested
            })
            .sum()
    }

    /// The rows as a block in the Native format, ready for [`crate::Store::insert`]. The block is empty afterwards
    /// and keeps its memory.
    pub fn finish(&mut self) -> Bytes {
        let out = Block::together(&[&*self]);
        for column in &mut self.columns {
            column.values.clear();
            column.names.clear();
            column.nested.iter_mut().for_each(Vec::clear);
            column.elements = 0;
        }
        self.rows = 0;
        out
    }

    /// The rows of several blocks, one after the other, as a single block in the Native format. It must be a single one:
    /// of an insert of several ClickHouse makes one part as well, but what it notes then is not the token alone.
    pub fn together(blocks: &[&Block]) -> Bytes {
        let bytes: usize = blocks.iter().map(|block| block.bytes()).sum();
        // 128 bytes hold a column's name and type, on the average of all.
        let mut out = BytesMut::with_capacity(bytes + 128 * Row::COLUMNS.len());
        put_varint(&mut out, Row::COLUMNS.len() as u64);
        put_varint(&mut out, blocks.iter().map(|block| block.rows as u64).sum());
        for (at, (name, ty)) in Row::COLUMNS.iter().enumerate() {
            put_text(&mut out, name);
            put_text(&mut out, ty);
            let columns = || blocks.iter().map(|block| &block.columns[at]);
            if *ty == NAME {
                put_names(&mut out, columns());
                continue;
            }
            let members = columns().map(|column| column.nested.len()).max().unwrap_or(0);
            let mut before = 0;
            for column in columns() {
                match before {
                    0 => out.extend_from_slice(&column.values),
                    _ => column.ends().for_each(|end| out.put_u64_le(before + end)),
                }
                before += column.elements;
            }
            for member in 0..members {
                columns()
                    .filter_map(|column| column.nested.get(member))
                    .for_each(|own| out.extend_from_slice(own));
            }
        }
        out.freeze()
    }
}

/// The receive times that the table can carry, Unix time in milliseconds: the years 1970 to 2105.
pub const TIMES_MS: std::ops::Range<i64> = 0..4_291_747_200_000;

/// The month of a Unix time in milliseconds, UTC, as `yyyymm`: the ClickHouse partition of the row. Holds within
/// [`TIMES_MS`]; what a row with another time would fall into is nobody's promise.
pub fn month(received_at_ms: i64) -> u32 {
    // Days to civil date after Howard Hinnant, "chrono-compatible low-level date algorithms" (2013).
    let days = received_at_ms.div_euclid(DAY_MS) + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    // Months from March, so that the leap day comes last.
    let from_march = (5 * day_of_year + 2) / 153;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    u32::try_from(year * 100 + month).unwrap_or(0)
}

const DAY_MS: i64 = 86_400_000;

/// The milliseconds of a month: the inverse of [`month`].
fn span_ms(yyyymm: u32) -> std::ops::Range<i64> {
    let start = |year: i64, month: i64| {
        let year = year - i64::from(month <= 2);
        let year_of_era = year.rem_euclid(400);
        let day_of_year = (153 * ((month + 9) % 12) + 2) / 5;
        let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
        (year.div_euclid(400) * 146_097 + day_of_era - 719_468) * DAY_MS
    };
    let (year, month) = (i64::from(yyyymm / 100), i64::from(yyyymm % 100));
    let next = if month == 12 { (year + 1, 1) } else { (year, month + 1) };
    start(year, month)..start(next.0, next.1)
}

/// Columns of names, one after the other, as one: its names, and for each row the number of its name.
fn put_names<'a>(out: &mut BytesMut, columns: impl Iterator<Item = &'a Column> + Clone) {
    /// Of ClickHouse's `SerializationLowCardinality`: dictionaries of each block's own.
    const VERSION: u64 = 1;
    /// There, too: the names come with the block.
    const HAS_ADDITIONAL_KEYS: u64 = 1 << 9;

    let mut all = Names::default();
    let mut numbers: Vec<u32> =
        Vec::with_capacity(columns.clone().map(|column| column.values.len() / 4).sum());
    for column in columns {
        let of_all: Vec<u32> = column.names.in_order().into_iter().map(|text| all.number(text)).collect();
        let own = column.values.as_chunks().0.iter().map(|number| u32::from_le_bytes(*number));
        numbers.extend(own.map(|number| of_all[number as usize]));
    }
    let count = all.numbers.len() as u64 + 1;
    let bytes_log2 = u64::from(count > 1 << 8) + u64::from(count > 1 << 16);
    out.put_u64_le(VERSION);
    out.put_u64_le(HAS_ADDITIONAL_KEYS | bytes_log2);
    out.put_u64_le(count);
    put_text(out, "");
    out.extend_from_slice(&all.texts);
    out.put_u64_le(numbers.len() as u64);
    match bytes_log2 {
        0 => numbers.iter().for_each(|number| out.put_u8(*number as u8)),
        1 => numbers.iter().for_each(|number| out.put_u16_le(*number as u16)),
        _ => numbers.iter().for_each(|number| out.put_u32_le(*number)),
    }
}

fn put_text(out: &mut impl BufMut, text: &str) {
    put_varint(out, text.len() as u64);
    out.put_slice(text.as_bytes());
}

fn put_varint(out: &mut impl BufMut, mut value: u64) {
    while value >= 0x80 {
        out.put_u8(value as u8 | 0x80);
        value >>= 7;
    }
    out.put_u8(value as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn months_meet_without_gap_or_overlap() {
        let mut at = 0;
        for year in 1970..2106 {
            for number in 1..=12 {
                let span = span_ms(year * 100 + number);
                assert_eq!(span.start, at, "{year}-{number}");
                assert_eq!(month(span.start), year * 100 + number);
                assert_eq!(month(span.end - 1), year * 100 + number);
                at = span.end;
            }
        }
        assert_eq!(TIMES_MS, 0..at);
    }

    #[test]
    #[should_panic(expected = "one month")]
    fn a_row_of_another_month_is_a_bug() {
        Block::new(197001).push(&Row { received_at_ms: 31 * DAY_MS, ..Row::default() });
    }

    #[test]
    fn a_block_is_used_again() {
        let row = Row { reasons: &["a", "bc"], target: "t", ..Row::default() };
        let mut block = Block::new(197001);
        block.push(&row);
        block.push(&row);
        let bytes = block.bytes();
        let first = block.finish();
        assert_eq!((block.rows(), block.bytes()), (0, 0));
        block.push(&row);
        block.push(&row);
        assert_eq!(block.bytes(), bytes);
        assert_eq!(block.finish(), first);
    }

    #[test]
    fn blocks_together_are_what_one_of_all_rows_is() {
        let correction = Correction {
            edge_id: 1,
            seq: 2,
            received_at_ms: 3,
            recipient: 4,
            kind: 2,
            link: 5,
            verdict: 4,
            confidence: 3,
            reason: "sweep",
        };
        let rows = [
            Row { seq: 1, target: "t", os: "x", ..Row::default() },
            Row { seq: 2, reasons: &["a", "bc"], os: "y", ..Row::default() },
            Row { seq: 3, corrects: &[correction], reasons: &["d"], ..Row::default() },
            Row { seq: 4, os: "x", ..Row::default() },
            Row { seq: 5, corrects: &[correction, correction], ..Row::default() },
        ];
        let of = |rows: &[Row<'_>]| {
            let mut block = Block::new(197001);
            rows.iter().for_each(|row| block.push(row));
            block
        };
        let whole = of(&rows).finish();
        for (first, second) in [(0, 0), (0, 3), (1, 1), (1, 3), (2, 5), (5, 5)] {
            let blocks = [of(&rows[..first]), of(&rows[first..second]), of(&rows[second..])];
            assert_eq!(Block::together(&blocks.each_ref()), whole, "{first} {second}");
        }
    }
}
