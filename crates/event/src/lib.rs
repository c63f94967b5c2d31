//! The wire contract: what an event is, how it is framed in a batch, and to which partition it belongs.
//!
//! Owns `proto/` and its Rust form. Does no I/O, reads no clock, decides nothing about an event's meaning.
//!
//! Two forms of one contract: [`proto::Event`] is generated and owned, for tools and tests; [`Event`] borrows
//! its strings and is what the edge writes and the consumer reads, because it allocates nothing. A property
//! test holds the two to the same bytes.

mod imported;
mod partition;
mod wire;

pub use imported::{IMPORTED_FROM, imported_id, is_numbered};
pub use partition::{partition, recipient_of};
pub use wire::{Batch, DecodeError, Event, mark_replay};

/// The types generated from `proto/mailbeacon/v1/event.proto`.
#[allow(missing_docs, reason = "documented in the .proto file")]
pub mod proto {
    include!(concat!(env!("OUT_DIR"), "/mailbeacon.v1.rs"));
}

pub use proto::{Kind, Method, Mode, Position, Region};

/// The longest that each captured text may be, in bytes. Longer input is cut at a character boundary.
///
/// The user agent's bound is twice the longest one seen in the public fixtures of mail clients and browsers;
/// the others follow what browsers send.
pub mod limits {
    /// `User-Agent`, and the other free-text headers an agent identifies itself with.
    pub const USER_AGENT: usize = 512;
    /// `Accept`, `Accept-Language`, `Referer`, `Via`, `Host`.
    pub const HEADER: usize = 256;
    /// `Sec-Fetch-*` and the purpose headers, whose values are single words.
    pub const WORD: usize = 64;
    /// A link's target URL.
    pub const TARGET: usize = 2_000;
    /// One encoded event: all fields at their longest, rounded up.
    pub const EVENT: usize = 8_192;
}
