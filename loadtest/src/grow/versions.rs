//! What runs.

use std::fs;

/// The version of a broker, by the file of its client library that it has open.
pub fn kafka(pid: u32) -> Option<String> {
    let open = fs::read_dir(format!("/proc/{pid}/fd")).ok()?;
    open.flatten().find_map(|file| {
        let path = fs::read_link(file.path()).ok()?;
        let version = path.file_name()?.to_str()?.strip_prefix("kafka-clients-")?.strip_suffix(".jar")?;
        Some(format!("Kafka {version}"))
    })
}
