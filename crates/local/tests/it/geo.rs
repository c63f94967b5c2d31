//! The geo table that needs no account.

use std::fs;

/// Stands before the metadata, within the last 128 KiB of a MaxMind file (MaxMind DB file format, version 2.0).
const MARKER: &[u8] = b"\xab\xcd\xefMaxMind.com";
const METADATA_BYTES_MAX: usize = 128 * 1024;

#[test]
fn city_table_is_two_whole_files() {
    let files = local::geo::dbip_city(&testkit::cache()).unwrap();
    assert_eq!(files.len(), 2);
    for file in files {
        let bytes = fs::read(&file).unwrap();
        let end = &bytes[bytes.len().saturating_sub(METADATA_BYTES_MAX)..];
        assert!(end.windows(MARKER.len()).any(|window| window == MARKER), "{} is torn", file.display());
        assert!(file.with_file_name("DBIP-LICENSE").is_file(), "the licence goes with the data");
    }
}
