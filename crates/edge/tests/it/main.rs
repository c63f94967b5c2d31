//! The edge, as its clients see it.

mod answer;
mod serve;
