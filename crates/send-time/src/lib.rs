//! When to write to a person: windows of their own clock in which mail is opened soon after it is sent.
//!
//! The model is opens per hour of opportunity (Singh et al., *An RNN-Survival Model to Decide Email Send Times*,
//! arXiv 2004.09900, for the survival view; DuMouchel's gamma-Poisson shrinker for small counts): a mail offers itself
//! from its send until it is opened, less with every hour. Opens observed over opens expected tells a habit of the
//! recipient from one of the sender: a bare histogram of opens mostly shows when mail is sent.
//!
//! Plain arithmetic over sums by local hour ([`Counts`]), all of which SQL can do as well; its constants stand in
//! [`model`]. Reads no clock, draws no random number, does no I/O: whoever calls passes what was counted, and when.

pub mod baselines;
pub mod circle;
pub mod counts;
pub mod evidence;
pub mod group;
pub mod habits;
mod learn;
pub mod model;
pub mod normal;
pub mod offpolicy;
pub mod policy;
pub mod profiles;
mod reasons;
pub mod recommend;
pub mod resample;
pub mod zone;

pub use counts::{Act, Counts, Mail, Weekday};
pub use group::{Group, Level, Likeness, Moments};
pub use habits::{Fitted, Habits, Member, Near, Own};
pub use profiles::{Mix, Profile};
pub use recommend::{Options, Person, Refused, Region, Window, by_hour, recommend};

/// A value for each hour of the local day.
pub type Hours = [f64; 24];
