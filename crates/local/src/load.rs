//! The one place with unsafe code: the ClickHouse engine is a C library, and calling it is a matter of trust.
#![allow(unsafe_code)]

use std::ffi::{CStr, CString, OsStr, OsString, c_char, c_int};
use std::os::unix::ffi::OsStringExt;

use libloading::{Library, Symbol};

/// An answer of the library, opaque to us.
#[repr(C)]
struct Answer {
    _private: [u8; 0],
}

type Run = unsafe extern "C" fn(c_int, *mut *mut c_char) -> *mut Answer;
type Error = unsafe extern "C" fn(*mut Answer) -> *const c_char;

/// Loads the library and runs the engine with `args` until it ends by itself.
pub(crate) fn run_engine(library: &OsStr, args: impl Iterator<Item = OsString>) -> Result<(), String> {
    let args = std::iter::once("clickhouse".into())
        .chain(args)
        .map(|arg| CString::new(arg.into_vec()).map_err(|_| "an argument holds a NUL byte".to_owned()))
        .collect::<Result<Vec<_>, _>>()?;
    let count = c_int::try_from(args.len()).map_err(|_| "too many arguments".to_owned())?;
    let mut pointers: Vec<*mut c_char> = args.iter().map(|arg| arg.as_ptr().cast_mut()).collect();
    pointers.push(std::ptr::null_mut());

    // SAFETY: loading runs the library's initialisers. The file is the one that the caller found or fetched and
    // verified, and this process does nothing else.
    let library = unsafe { Library::new(library) }
        .map_err(|error| format!("failed to load {}: {error}", library.display()))?;
    // SAFETY: the names and signatures are those of the library's C header, `chdb.h`, of the pinned version:
    // `chdb_result * chdb_query_cmdline(int argc, char ** argv)` and
    // `const char * chdb_result_error(chdb_result *)`.
    let (run, error): (Symbol<Run>, Symbol<Error>) = unsafe {
        let missing = |error| format!("the library is not a chdb engine: {error}");
        (
            library.get(c"chdb_query_cmdline").map_err(missing)?,
            library.get(c"chdb_result_error").map_err(missing)?,
        )
    };
    // SAFETY: `argv` is `count` pointers to NUL-terminated strings and a null, all alive until the call is back;
    // the engine reads them as `main` would.
    let answer = unsafe { run(count, pointers.as_mut_ptr()) };
    if answer.is_null() {
        return Err("the engine gave no answer".into());
    }
    // SAFETY: `answer` is what the library just handed out, and it is never freed: the process ends next.
    let reason = unsafe { error(answer) };
    if reason.is_null() {
        return Ok(());
    }
    // SAFETY: the library returns a NUL-terminated string owned by `answer`.
    Err(unsafe { CStr::from_ptr(reason) }.to_string_lossy().into_owned())
}
