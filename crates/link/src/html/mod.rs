//! A message's HTML, turned into a tracked one.
//!
//! Three steps: [`survey`] parses and says what stands where, [`instrument`] decides and mints, and the decisions
//! are spliced into the source by byte range. So all that is not ours stays as it was, byte for byte: quotes,
//! spaces, template tags in odd places, attributes that no parser understands.

mod instrument;
mod lint;
mod marks;
mod survey;
mod utm;

pub use instrument::{
    InstrumentError, Instrumented, LINKS_MAX, LinkReport, MESSAGE_BYTES_MAX, MessageSpec, instrument,
};
pub use lint::{GMAIL_CLIP_BYTES, WARNINGS_MAX};
