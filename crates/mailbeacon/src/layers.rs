//! One configuration from three layers: the file, then the environment, then flags. The later one wins.

use std::path::Path;

use anyhow::{Context, anyhow, bail};
use toml::{Table, Value};

/// Variables with our prefix that are no settings.
const NOT_SETTINGS: [&str; 2] = ["MAILBEACON_CONFIG", "MAILBEACON_CACHE"];
const PREFIX: &str = "MAILBEACON_";
/// A configuration file is a page or two.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Reads the layers into one table. `environment` is what the process was given; `flags` are `section.key=value`;
/// `defaults` has every setting, so that a text is known to be one.
///
/// # Errors
/// A file that cannot be read or is no TOML, a variable or flag of a form that cannot be: each named.
pub fn read(
    file: Option<&Path>,
    environment: impl Iterator<Item = (String, String)>,
    flags: &[String],
    defaults: &Table,
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
        set(&mut table, &section.to_lowercase(), &key.to_lowercase(), &value, defaults)
            .with_context(|| format!("environment variable {name}"))?;
    }
    for flag in flags {
        let Some(((section, key), value)) =
            flag.split_once('=').and_then(|(name, value)| Some((name.split_once('.')?, value)))
        else {
            bail!("--set {flag}: expected SECTION.KEY=VALUE");
        };
        set(&mut table, section, key, value, defaults).with_context(|| format!("--set {section}.{key}"))?;
    }
    Ok(table)
}

fn read_file(path: &Path) -> anyhow::Result<Table> {
    let shown = path.display();
    let size =
        std::fs::metadata(path).with_context(|| format!("failed to open configuration {shown}"))?.len();
    if size > FILE_BYTES_MAX {
        bail!("configuration {shown}: {size} bytes, expected at most {FILE_BYTES_MAX}");
    }
    let text =
        std::fs::read_to_string(path).with_context(|| format!("failed to read configuration {shown}"))?;
    // TOML's own error quotes the line, and that may hold a password.
    text.parse().map_err(|cause: toml::de::Error| {
        let start = cause.span().map_or(0, |span| span.start.min(text.len()));
        let line = 1 + text.as_bytes()[..start].iter().filter(|byte| **byte == b'\n').count();
        anyhow!("configuration {shown}: line {line} is not TOML: {}", cause.message())
    })
}

/// Sets one value. Where the setting is a text, it is taken as it stands: a password may look like a number. Else it
/// is read as TOML (`8`, `true`, `["a"]`, `{ a = "b" }`). A key may go deeper: `kafka.properties.security.protocol`
/// sets the property `security.protocol`, which is a text.
fn set(table: &mut Table, section: &str, key: &str, text: &str, defaults: &Table) -> anyhow::Result<()> {
    let (key, inner) = match key.split_once('.') {
        None => (key, None),
        Some((key, inner)) => (key, Some(inner)),
    };
    let default = defaults.get(section).and_then(|section| section.get(key));
    let as_it_stands = || Value::String(text.to_owned());
    let value = match (default, inner) {
        (Some(Value::String(_)), _) | (Some(Value::Table(_)), Some(_)) => as_it_stands(),
        _ => toml_value(text).unwrap_or_else(as_it_stands),
    };
    let section = inner_table(table, section)?;
    match inner {
        None => _ = section.insert(key.to_owned(), value),
        Some(inner) => _ = inner_table(section, key)?.insert(inner.to_owned(), value),
    }
    Ok(())
}

fn toml_value(text: &str) -> Option<Value> {
    format!("v = {text}").parse::<Table>().ok()?.remove("v")
}

fn inner_table<'a>(table: &'a mut Table, name: &str) -> anyhow::Result<&'a mut Table> {
    match table.entry(name).or_insert_with(|| Value::Table(Table::new())) {
        Value::Table(table) => Ok(table),
        _ => bail!("`{name}` is not a section"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layered(environment: &[(&str, &str)], flags: &[&str]) -> anyhow::Result<String> {
        let environment = environment.iter().map(|(name, value)| (name.to_string(), value.to_string()));
        let flags: Vec<String> = flags.iter().map(|flag| flag.to_string()).collect();
        let defaults =
            "[edge]\nlisten = ''\nworkers = 0\n[kafka.properties]\n[clickhouse]\npassword = ''".parse()?;
        Ok(read(None, environment, &flags, &defaults)?.to_string())
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
    fn a_text_is_a_text_whatever_it_looks_like() {
        let flags = ["clickhouse.password=12345", "kafka.properties.ssl.key.password=67"];
        let wanted =
            "[clickhouse]\npassword = \"12345\"\n\n[kafka.properties]\n\"ssl.key.password\" = \"67\"\n";
        assert_eq!(layered(&[], &flags).unwrap(), wanted);
    }

    #[test]
    fn a_whole_table_is_read_as_one() {
        let name = "MAILBEACON_KAFKA_PROPERTIES";
        let text =
            layered(&[(name, "{\"sasl.password\" = \"5\", \"sasl.username\" = \"ann\"}")], &[]).unwrap();
        assert_eq!(text, "[kafka.properties]\n\"sasl.password\" = \"5\"\n\"sasl.username\" = \"ann\"\n");
    }

    #[test]
    fn what_is_no_setting_is_named() {
        assert!(layered(&[("MAILBEACON_X", "1")], &[]).unwrap_err().to_string().contains("MAILBEACON_X"));
        assert!(layered(&[], &["edge=1"]).unwrap_err().to_string().contains("SECTION.KEY=VALUE"));
    }
}
