//! `mailbeacon.toml`: every setting, with its default, explained.

use std::collections::BTreeSet;

use super::{defaults, mailbeacon, path, text};

/// `#key = value`, without the `#`: an example. Prose has a space after the `#`.
fn example(line: &str) -> Option<&str> {
    line.strip_prefix('#').filter(|rest| rest.starts_with(|c: char| c.is_ascii_lowercase() || c == '"'))
}

#[test]
fn the_file_names_every_setting_and_says_its_default() {
    let file = path("mailbeacon.toml");
    let shown = mailbeacon(&[], &["--config", file.to_str().unwrap(), "config"]).unwrap();
    assert_eq!(shown, mailbeacon(&[], &["config"]).unwrap());

    let mut named = BTreeSet::new();
    let mut section = "";
    let mut above = "";
    let text = text("mailbeacon.toml");
    for line in text.lines() {
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            section = name;
            if section.contains('.') {
                named.insert(section.to_owned());
                assert!(above.starts_with("# "), "[{section}] is not explained");
            }
        } else if let Some((key, _)) = example(line).unwrap_or(line).split_once(" = ")
            && !line.starts_with("# ")
            && !section.contains('.')
        {
            assert!(above.starts_with("# "), "{section}.{key} is not explained");
            assert!(named.insert(format!("{section}.{key}")), "{section}.{key} stands there twice");
        }
        above = line;
    }
    let known: BTreeSet<String> = defaults()
        .iter()
        .flat_map(|(section, keys)| {
            keys.as_table().unwrap().keys().map(move |key| format!("{section}.{key}"))
        })
        .collect();
    assert_eq!(named, known);
}

#[test]
fn its_examples_are_accepted() {
    let text = text("mailbeacon.toml");
    let lines: Vec<&str> = text.lines().map(|line| example(line).unwrap_or(line)).collect();
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("examples.toml");
    std::fs::write(&file, lines.join("\n")).unwrap();
    let shown = mailbeacon(&[], &["--config", file.to_str().unwrap(), "config"]).unwrap();
    assert!(shown.contains("kafka-1:9092") && shown.contains("security.protocol"), "{shown}");
    assert!(!shown.contains("from the environment"), "a password is shown: {shown}");
}

#[test]
fn what_is_wrong_is_refused_by_its_name() {
    for (flag, named) in
        [("edge.listne=1", "listne"), ("egde.listen=1", "egde"), ("edge.workers=999", "edge.workers")]
    {
        let complaint = mailbeacon(&[], &["--set", flag, "config"]).unwrap_err();
        assert!(complaint.contains(named), "{flag}: {complaint}");
    }
}
