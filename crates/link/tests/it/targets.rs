//! Where a click may go, and how it is written.

use link::{TargetProblem, location};
use proptest::prelude::*;
use url::Url;

#[test]
fn targets_are_written_as_documented() {
    for line in include_str!("targets.txt").lines().filter(|line| !line.is_empty() && !line.starts_with('#'))
    {
        let (target, expected) = line.split_once(" -> ").unwrap();
        let target = target.replace("\\t", "\t").replace("\\n", "\n").replace("\\0", "\0");
        let found = location(&target).unwrap_or_else(|problem| format!("{problem:?}"));
        let expected = if expected == "=" { &target } else { expected };
        assert_eq!(found, expected, "{target:?}");
    }
}

#[test]
fn a_long_target_is_named_with_its_length() {
    let long = format!("https://a.example/{}", "x".repeat(1_983));
    assert_eq!(location(&long), Err(TargetProblem::Long { bytes: 2_001, bytes_max: 2_000 }));
    let grows = format!("https://a.example/{}", "ä".repeat(900));
    assert_eq!(location(&grows), Err(TargetProblem::Long { bytes: 18 + 900 * 6, bytes_max: 2_000 }));
}

proptest! {
    /// Whatever comes in: what comes out is safe in a header, stays what it is, and goes where it went.
    #[test]
    fn a_location_is_safe_stable_and_equal(target in "(http|https|HTTP|ftp)://(\\PC|[\\x00-\\x20@:/?#\\\\\\[\\]%.]){0,40}|.{0,40}") {
        let Ok(written) = location(&target) else { return Ok(()) };
        prop_assert!(written.bytes().all(|byte| byte.is_ascii_graphic()), "{:?}", written);
        prop_assert!(!written.contains(['"', '<', '>', '\\', '^', '`', '{', '|', '}']), "{:?}", written);
        prop_assert!(written.starts_with("http://") || written.starts_with("https://"));
        prop_assert_eq!(location(&written).unwrap(), written.clone());
        let (before, after) = (Url::parse(&target).unwrap(), Url::parse(&written).unwrap());
        prop_assert_eq!(before.host_str(), after.host_str());
        prop_assert_eq!(before.port(), after.port());
        prop_assert_eq!((after.username(), after.password()), ("", None));
        prop_assert_eq!(unescaped(before.path()), unescaped(after.path()));
    }
}

/// Paths are equal but for escapes, of which `location` writes a few more than the `url` crate.
fn unescaped(path: &str) -> String {
    ["%5E ^", "%60 `", "%7B {", "%7C |", "%7D }"].iter().fold(path.to_owned(), |path, pair| {
        let (escape, character) = pair.split_once(' ').unwrap();
        path.replace(escape, character)
    })
}
