//! Settings that parse but cannot work.

use std::ops::RangeInclusive;

/// A setting that cannot be: the start stops on it, before a port is bound.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{key} = {value}: expected {expected}")]
pub struct SettingError {
    /// The setting's full name, as in the configuration file.
    pub key: &'static str,
    /// What it was set to.
    pub value: String,
    /// What would do.
    pub expected: String,
}

impl SettingError {
    /// Holds a number to its bounds.
    ///
    /// # Errors
    /// When it lies outside of them.
    pub fn check(key: &'static str, value: u64, bounds: RangeInclusive<u64>) -> Result<(), SettingError> {
        if bounds.contains(&value) {
            return Ok(());
        }
        let expected = format!("{} to {}", bounds.start(), bounds.end());
        Err(SettingError { key, value: value.to_string(), expected })
    }
}
