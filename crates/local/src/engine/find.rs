//! Where the engine comes from, in order of preference.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use crate::error::file;
use crate::fetch::{self, NpmPackage};
use crate::tool::{PYTHON, on_path};
use crate::{Cache, LocalError};

/// An engine, and how it is run.
pub(super) enum Found {
    /// The `clickhouse` program.
    Program(PathBuf),
    /// The engine as a C library.
    Library(PathBuf),
    /// A folder of Python modules that holds the engine as an extension module.
    Python(PathBuf),
}

const PROGRAM: &str = "clickhouse";
const LIBRARY: &str = "libchdb.so";
const PYTHON_MODULE: &str = "chdb/_chdb.abi3.so";
/// Named exactly: the `latest` tag of the npm package is older than this.
const NPM_VERSION: &str = "26.7.3-stable.1";
const PYPI_VERSION: &str = "26.7.3";

const NPM_X86_64: NpmPackage = NpmPackage {
    name: "@chdb/lib-linux-x64-gnu",
    version: NPM_VERSION,
    sha512: Some(concat!(
        "5cff7b98caa7739b59a4a432c11f0dedc2d3b073624e61ebdf4a42e66ce8de35",
        "a6ba48ca9f62016bad1cd81fe059435cb858ce3235a8a2b408082a81563e70a7",
    )),
};
const NPM_AARCH64: NpmPackage =
    NpmPackage { name: "@chdb/lib-linux-arm64-gnu", version: NPM_VERSION, sha512: None };

/// A `clickhouse` on the PATH, else the cached engine, else one that npm or pip fetches now.
pub(super) fn find(cache: &Cache) -> Result<Found, LocalError> {
    if let Some(program) = on_path(PROGRAM, env::var_os("PATH").as_deref()) {
        return Ok(Found::Program(program));
    }
    let npm_item = format!("engine-{NPM_VERSION}");
    let pypi_item = format!("engine-pypi-{PYPI_VERSION}");
    let python = cache.dir.join(&pypi_item);
    // Not the library first and Python second, but what is there before what must be fetched.
    if !cache.dir.join(&npm_item).is_dir() && python.is_dir() {
        return Ok(Found::Python(python));
    }
    let npm = match cache.item(&npm_item, fetch_npm) {
        Ok(dir) => return Ok(Found::Library(dir.join(LIBRARY))),
        Err(error) => error,
    };
    match cache.item(&pypi_item, fetch_pypi) {
        Ok(dir) => Ok(Found::Python(dir)),
        Err(pypi) => {
            let cached = cache.dir.join(npm_item).join(LIBRARY);
            Err(LocalError::NoEngine { cached, npm: Box::new(npm), pypi: Box::new(pypi) })
        }
    }
}

fn fetch_npm(into: &Path) -> Result<(), LocalError> {
    let package = match env::consts::ARCH {
        "x86_64" => &NPM_X86_64,
        "aarch64" => &NPM_AARCH64,
        other => return Err(LocalError::NoBuild(other)),
    };
    fetch::npm(package, &[LIBRARY], into)
}

/// By pip, which checks the wheel against the digest in the index.
fn fetch_pypi(into: &Path) -> Result<(), LocalError> {
    let what = format!("chdb-core=={PYPI_VERSION}");
    let packed = into.join("pypi");
    fs::create_dir(&packed).map_err(file("create", &packed))?;
    let download = ["-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:", &what];
    fetch::run(PYTHON, &download, &packed, &what)?;
    let wheel = fetch::only_file(&packed, "whl", &what)?;
    let name = wheel.file_name().unwrap_or_default().to_string_lossy().into_owned();
    fetch::run(PYTHON, &["-m", "zipfile", "-e", &name, ".."], &packed, &what)?;
    if !into.join(PYTHON_MODULE).is_file() {
        return Err(LocalError::NotInArchive { what, wanted: PYTHON_MODULE.into() });
    }
    fs::remove_dir_all(&packed).map_err(file("remove", &packed))
}
