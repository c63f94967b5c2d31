//! One configuration from three layers: the file, then the environment, then flags. The later one wins.

use std::path::Path;

use anyhow::{Context, bail};
use toml::{Table, Value};

/// Variables with our prefix that are no settings.
const NOT_SETTINGS: [&str; 2] = ["MAILBEACON_CONFIG", "MAILBEACON_CACHE"];
const PREFIX: &str = "MAILBEACON_";
/// A configuration file is a page or two.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Reads the layers into one table. `environment` is what the process was given; `flags` are `section.key=value`.
///
/// # Errors
/// A file that cannot be read or is no TOML, a variable or flag of a form that cannot be: each named.
pub fn read(
    file: Option<&Path>,
    environment: impl Iterator<Item = (String, String)>,
    flags: &[String],
) -> anyhow::Result<Table> {
    let mut table = match file {
        Some(path) => read_file(path)?,
        None => Table::new(),
    };
    for (name, value) in environment {
        let Some(setting) = name.strip_prefix(PREFIX) else { continue };
        if NOT_SETTINGS.contains(&name.as_str()) {
            continue;
        }
        // Sections are single words, so the first underscore ends the section.
        let Some((section, key)) = setting.split_once('_') else {
            bail!("environment variable {name}: expected {PREFIX}SECTION_KEY");
        };
        set(&mut table, &section.to_lowercase(), &key.to_lowercase(), &value)
            .with_context(|| format!("environment variable {name}"))?;
    }
    for flag in flags {
        let Some(((section, key), value)) =
            flag.split_once('=').and_then(|(name, value)| Some((name.split_once('.')?, value)))
        else {
            bail!("--set {flag}: expected SECTION.KEY=VALUE");
        };
        set(&mut table, section, key, value).with_context(|| format!("--set {section}.{key}"))?;
    }
    Ok(table)
}

fn read_file(path: &Path) -> anyhow::Result<Table> {
    let shown = path.display();
    let size = std::fs::metadata(path).with_context(|| format!("failed to open configuration {shown}"))?.len();
    if size > FILE_BYTES_MAX {
        bail!("configuration {shown}: {size} bytes, expected at most {FILE_BYTES_MAX}");
    }
    let text = std::fs::read_to_string(path).with_context(|| format!("failed to read configuration {shown}"))?;
    text.parse().with_context(|| format!("configuration {shown} is not TOML"))
}

/// Sets one value. Text that reads as a TOML value is one (`8`, `true`, `["a"]`), any other text is a string.
/// A key may go deeper: `kafka.properties.security.protocol` sets the property `security.protocol`.
fn set(table: &mut Table, section: &str, key: &str, text: &str) -> anyhow::Result<()> {
    let value = format!("v = {text}")
        .parse::<Table>()
        .ok()
        .and_then(|mut parsed| parsed.remove("v"))
        .unwrap_or_else(|| Value::String(text.to_owned()));
    let section = match table.entry(section).or_insert_with(|| Value::Table(Table::new())) {
        Value::Table(table) => table,
        _ => bail!("`{section}` is not a section"),
    };
    match key.split_once('.') {
        None => _ = section.insert(key.to_owned(), value),
        Some((outer, inner)) => match section.entry(outer).or_insert_with(|| Value::Table(Table::new())) {
            Value::Table(table) => _ = table.insert(inner.to_owned(), value),
            _ => bail!("`{outer}` is not a section"),
        },
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layered(environment: &[(&str, &str)], flags: &[&str]) -> anyhow::Result<String> {
        let environment = environment.iter().map(|(name, value)| (name.to_string(), value.to_string()));
        let flags: Vec<String> = flags.iter().map(|flag| flag.to_string()).collect();
        Ok(read(None, environment, &flags)?.to_string())
    }

    #[test]
    fn flags_win_over_the_environment() {
        let text = layered(
            &[("MAILBEACON_EDGE_LISTEN", "1.2.3.4:80"), ("MAILBEACON_CONFIG", "x"), ("PATH", "y")],
            &["edge.listen=5.6.7.8:80", "edge.workers=2", "kafka.properties.security.protocol=SSL"],
        );
        let wanted = "[edge]\nlisten = \"5.6.7.8:80\"\nworkers = 2\n\n[kafka.properties]\n\
                      \"security.protocol\" = \"SSL\"\n";
        assert_eq!(text.unwrap(), wanted);
    }

    #[test]
    fn what_is_no_setting_is_named() {
        assert!(layered(&[("MAILBEACON_X", "1")], &[]).unwrap_err().to_string().contains("MAILBEACON_X"));
        assert!(layered(&[], &["edge=1"]).unwrap_err().to_string().contains("SECTION.KEY=VALUE"));
    }
}
