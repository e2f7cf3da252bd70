//! A file that appears whole or not at all.

use crate::error::{Error, Result};
use deathtensors_core::Code;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// A temporary file beside its target, renamed into place by
/// [`AtomicFile::commit`] and removed if that never happens.
#[derive(Debug)]
pub(crate) struct AtomicFile {
    pub file: File,
    target: PathBuf,
    temporary: PathBuf,
    replaces: bool,
    done: bool,
}

impl AtomicFile {
    /// Starts a file that will stand at `path`. A symbolic link there is followed,
    /// so that the file it points to is replaced and the link stays.
    pub fn create(path: &Path) -> Result<Self> {
        let target = follow(path).map_err(|e| Error::io("write", path, e))?;
        let existing = match fs::metadata(&target) {
            Ok(facts) if facts.is_file() => Some(facts),
            Ok(_) => {
                return Err(Error::new(
                    Code::Io,
                    format!(
                        "cannot write '{}': it is not a regular file",
                        path.display()
                    ),
                )
                .at(path));
            }
            Err(e) if e.kind() == io::ErrorKind::NotFound => None,
            Err(e) => return Err(Error::io("write", path, e)),
        };
        let (file, temporary) = sibling(&target).map_err(|e| Error::io("write", path, e))?;
        let out = Self {
            file,
            target,
            temporary,
            replaces: existing.is_some(),
            done: false,
        };
        if let Some(facts) = existing {
            out.file
                .set_permissions(facts.permissions())
                .map_err(|e| out.failed(e))?;
        }
        Ok(out)
    }

    /// The path that the file will have.
    pub fn target(&self) -> &Path {
        &self.target
    }

    /// An error of writing this file.
    pub fn failed(&self, error: io::Error) -> Error {
        Error::io("write", &self.target, error)
    }

    /// Puts the file in its place. What it replaces is whole until the new one is
    /// on the disk.
    pub fn commit(&mut self) -> Result<()> {
        if self.replaces {
            self.file.sync_all().map_err(|e| self.failed(e))?;
        }
        fs::rename(&self.temporary, &self.target).map_err(|e| self.failed(e))?;
        self.done = true;
        #[cfg(unix)]
        if self.replaces {
            // The content is safe already; only which name shows is at stake.
            let folder = self
                .target
                .parent()
                .filter(|p| !p.as_os_str().is_empty())
                .unwrap_or(Path::new("."));
            let _ = File::open(folder).and_then(|folder| folder.sync_all());
        }
        Ok(())
    }
}

impl Drop for AtomicFile {
    fn drop(&mut self) {
        if !self.done {
            let _ = fs::remove_file(&self.temporary);
        }
    }
}

/// Where writing to `path` would end up, through symbolic links that may dangle.
fn follow(path: &Path) -> io::Result<PathBuf> {
    const MOST: usize = 40;
    let mut target = path.to_path_buf();
    for _ in 0..MOST {
        match fs::read_link(&target) {
            Ok(link) => target = target.parent().unwrap_or(Path::new("")).join(link),
            Err(_) => return Ok(target),
        }
    }
    Err(io::Error::other("too many levels of symbolic links"))
}

/// A new file in the target's folder, with the permissions that the process's
/// umask gives. Its name is short whatever the target's is.
fn sibling(target: &Path) -> io::Result<(File, PathBuf)> {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    const TRIES: usize = 100;
    let folder = target.parent().unwrap_or(Path::new(""));
    if target.file_name().is_none() {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "the path has no file name",
        ));
    }
    let mut last = io::Error::other("no free name for a temporary file");
    for _ in 0..TRIES {
        let nanos = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .map_or(0, |d| d.subsec_nanos());
        let nth = COUNT.fetch_add(1, Ordering::Relaxed);
        let temporary = folder.join(format!(
            ".deathtensors-{:x}-{nth:x}-{nanos:x}.tmp",
            std::process::id()
        ));
        match OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .open(&temporary)
        {
            Ok(file) => return Ok((file, temporary)),
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => last = e,
            Err(e) => return Err(e),
        }
    }
    Err(last)
}
