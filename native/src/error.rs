//! The core's errors, with the path and the operating system's word added.

use deathtensors_core::{self as core, Code, Kind};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// What this crate returns.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A refusal or failure. [`Error::code`] is stable; the text is for people.
#[derive(Debug)]
pub struct Error(Box<Inner>);

#[derive(Debug)]
struct Inner {
    core: core::Error,
    path: Option<PathBuf>,
    io: Option<io::Error>,
}

impl Error {
    /// An error with a lower-case, one-line message.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        core::Error::new(code, message).into()
    }

    /// What the operating system said while `doing` something to `path`.
    pub fn io(doing: &str, path: &Path, error: io::Error) -> Self {
        let code = match error.kind() {
            io::ErrorKind::NotFound => Code::FileNotFound,
            _ => Code::Io,
        };
        let core = core::Error::new(
            code,
            format!("cannot {doing} '{}': {error}", path.display()),
        );
        Self(Box::new(Inner {
            core,
            path: Some(path.into()),
            io: Some(error),
        }))
    }

    /// Says which file it is about. The first path given stays.
    #[must_use]
    pub fn at(mut self, path: &Path) -> Self {
        self.0.path.get_or_insert_with(|| path.into());
        self
    }

    /// Names the tensor it is about. The first name given stays.
    #[must_use]
    pub fn tensor(mut self, name: &str) -> Self {
        self.0.core = self.0.core.tensor(name);
        self
    }

    /// Says something more, before the message.
    #[must_use]
    pub(crate) fn note(mut self, what: &str) -> Self {
        self.0.core = self.0.core.context(what);
        self
    }

    /// The stable code.
    pub fn code(&self) -> Code {
        self.0.core.code()
    }

    /// The code's kind.
    pub fn kind(&self) -> Kind {
        self.0.core.kind()
    }

    /// The error without the path: message, tensor, expected and found.
    pub fn detail(&self) -> &core::Error {
        &self.0.core
    }

    /// The tensor it is about, if it is about one.
    pub fn tensor_name(&self) -> Option<&str> {
        self.0.core.tensor_name()
    }

    /// The file it is about, if known.
    pub fn path(&self) -> Option<&Path> {
        self.0.path.as_deref()
    }

    /// The operating system's error, if there was one.
    pub fn os_error(&self) -> Option<&io::Error> {
        self.0.io.as_ref()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.0.path, &self.0.io) {
            (Some(path), None) => {
                write!(
                    f,
                    "{}: {}",
                    core::Printable(&path.display().to_string()),
                    self.0.core
                )
            }
            _ => self.0.core.fmt(f),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.io.as_ref().map(|e| e as _)
    }
}

impl From<core::Error> for Error {
    fn from(core: core::Error) -> Self {
        Self(Box::new(Inner {
            core,
            path: None,
            io: None,
        }))
    }
}
