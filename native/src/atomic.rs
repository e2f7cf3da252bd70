//! A file that appears whole or not at all.

use crate::error::{Error, Result};
use deathtensors_core::Code;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Mutex, PoisonError};
use std::thread::JoinHandle;

/// How much is written between two flushes of a file that will replace another.
const FLUSH_BYTES: u64 = 64 << 20;

/// A temporary file beside its target, renamed into place by
/// [`AtomicFile::commit`] and removed if that never happens.
#[derive(Debug)]
pub(crate) struct AtomicFile {
    pub file: File,
    target: PathBuf,
    temporary: PathBuf,
    replaces: bool,
    done: bool,
    behind: Mutex<Behind>,
}

/// Flushes what is written while more is being written, so that little is left to
/// wait for at the end.
#[derive(Debug, Default)]
struct Behind {
    /// Written since the last flush was asked for.
    bytes: u64,
    thread: Option<(Sender<()>, JoinHandle<io::Result<()>>)>,
}

impl Behind {
    /// Asks for a flush of all that was written so far.
    fn flush(&mut self, file: &File) {
        self.bytes = 0;
        if self.thread.is_none() {
            // Where there is no thread to be had, the end takes longer.
            let Ok(file) = file.try_clone() else { return };
            let (ask, asked) = channel::<()>();
            let work = move || {
                while asked.recv().is_ok() {
                    while asked.try_recv().is_ok() {}
                    file.sync_data()?;
                }
                Ok(())
            };
            let name = String::from("deathtensors-flush");
            let thread = std::thread::Builder::new().name(name).spawn(work);
            self.thread = thread.ok().map(|thread| (ask, thread));
        }
        if let Some((ask, _)) = &self.thread {
            let _ = ask.send(());
        }
    }

    /// Waits for the last flush. The system reports a failed write once, so what it
    /// told that thread must be heard here.
    fn finish(&mut self) -> io::Result<()> {
        let Some((ask, thread)) = self.thread.take() else {
            return Ok(());
        };
        drop(ask);
        thread
            .join()
            .unwrap_or_else(|_| Err(io::Error::other("a thread failed")))
    }
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
            behind: Mutex::default(),
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

    /// Writes where the file's own position is.
    pub fn write(&self, bytes: &[u8]) -> Result<()> {
        (&self.file).write_all(bytes).map_err(|e| self.failed(e))?;
        if self.replaces {
            let mut behind = self.behind.lock().unwrap_or_else(PoisonError::into_inner);
            behind.bytes += bytes.len() as u64;
            if behind.bytes >= FLUSH_BYTES {
                behind.flush(&self.file);
            }
        }
        Ok(())
    }

    fn flushed(&mut self) -> io::Result<()> {
        let behind = self.behind.get_mut();
        behind.unwrap_or_else(PoisonError::into_inner).finish()
    }

    /// Puts the file in its place. What it replaces is whole until the new one is
    /// on the disk.
    pub fn commit(&mut self) -> Result<()> {
        let mut old = None;
        if self.replaces {
            let flushed = self.flushed().and_then(|()| self.file.sync_all());
            flushed.map_err(|e| self.failed(e))?;
            old = File::open(&self.target).ok();
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
        // Giving back the pages and blocks of a large file takes the system a while,
        // which nobody needs to wait for: neither here nor in the flush above.
        if let Some(old) = old
            && old.metadata().is_ok_and(|facts| facts.len() >= FLUSH_BYTES)
        {
            let _ = std::thread::Builder::new().spawn(move || drop(old));
        }
        Ok(())
    }
}

impl Drop for AtomicFile {
    fn drop(&mut self) {
        let _ = self.flushed();
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
