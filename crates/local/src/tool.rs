//! The programs of others that must be on the machine.

use std::env;
use std::ffi::OsStr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::LocalError;

/// A program looked for on the PATH.
#[derive(Clone, Copy)]
pub(crate) struct Tool {
    /// As typed.
    pub program: &'static str,
    /// The Debian package that carries it.
    pub package: &'static str,
}

pub(crate) const NPM: Tool = Tool { program: "npm", package: "npm" };
pub(crate) const CURL: Tool = Tool { program: "curl", package: "curl" };
pub(crate) const PYTHON: Tool = Tool { program: "python3", package: "python3-pip" };
pub(crate) const MAVEN: Tool = Tool { program: "mvn", package: "maven" };
/// Kafka 4 runs on Java 17 and later.
pub(crate) const JAVA: Tool = Tool { program: "java", package: "openjdk-17-jre-headless" };

impl Tool {
    /// The path of the program, or an error that says what needs it and where to get it.
    pub fn find(self, purpose: &str) -> Result<PathBuf, LocalError> {
        on_path(self.program, env::var_os("PATH").as_deref()).ok_or_else(|| LocalError::MissingTool {
            program: self.program,
            purpose: purpose.into(),
            package: self.package,
        })
    }
}

/// The first file of that name on `path` that can be executed.
pub(crate) fn on_path(program: &str, path: Option<&OsStr>) -> Option<PathBuf> {
    let runs = |path: &Path| {
        path.metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
    };
    env::split_paths(path?).map(|dir| dir.join(program)).find(|path| runs(path))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn path_yields_only_what_can_run() {
        let dir = tempfile::tempdir().unwrap();
        let (first, second) = (dir.path().join("first"), dir.path().join("second"));
        for (dir, mode) in [(&first, 0o644), (&second, 0o755)] {
            fs::create_dir(dir).unwrap();
            fs::write(dir.join("tool"), "").unwrap();
            fs::set_permissions(dir.join("tool"), PermissionsExt::from_mode(mode)).unwrap();
        }
        let path = env::join_paths([&first, &second]).unwrap();
        assert_eq!(on_path("tool", Some(&path)), Some(second.join("tool")));
        assert_eq!(on_path("absent", Some(&path)), None);
        assert_eq!(on_path("tool", None), None);
    }

    #[test]
    fn missing_tool_is_named_with_its_package() {
        let tool = Tool { program: "mailbeacon-no-such-tool", package: "some-package" };
        let expected = "failed to find `mailbeacon-no-such-tool`, needed to run it: \
                        install it, on Debian with `apt-get install some-package`";
        assert_eq!(tool.find("run it").unwrap_err().to_string(), expected);
    }
}
