//! A file that appears whole or not at all.

use crate::error::{Error, Result};
use crate::identity::Identity;
use deathtensors_core::Code;
use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Mutex, PoisonError};
use std::thread::JoinHandle;
#[cfg(unix)]
use std::time::{Duration, Instant};

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
    /// The file that this one was made from, if it may replace no other.
    only: Option<Original>,
    done: bool,
    behind: Mutex<Behind>,
}

/// A file that is open, and how it was when that began.
#[derive(Debug)]
struct Original {
    /// Windows replaces no file that is open.
    #[cfg(unix)]
    file: File,
    identity: Identity,
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
        // Asked of the path, not of the target: where the system would not follow a link
        // that a stranger put into a shared folder, neither do we.
        let existing = regular(path)?;
        let (file, temporary) = sibling(&target).map_err(|e| Error::io("write", path, e))?;
        let out = Self {
            file,
            target,
            temporary,
            replaces: existing.is_some(),
            only: None,
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

    /// Starts a file that is made from an open one and takes its place: if by then
    /// somebody else did, that stays, and [`AtomicFile::commit`] is refused.
    pub fn replace(path: &Path, file: &File) -> Result<Self> {
        let fail = |e| Error::io("write", path, e);
        let identity = Identity::of(&file.metadata().map_err(fail)?);
        let mut out = Self::create(path)?;
        out.only = Some(Original {
            #[cfg(unix)]
            file: file.try_clone().map_err(fail)?,
            identity,
        });
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

    /// Waits until all that was written is on the disk.
    fn flush(&mut self) -> Result<()> {
        let flushed = self.flushed().and_then(|()| self.file.sync_all());
        flushed.map_err(|e| self.failed(e))
    }

    fn place(&mut self) -> Result<()> {
        fs::rename(&self.temporary, &self.target).map_err(|e| self.failed(e))?;
        self.done = true;
        Ok(())
    }

    /// Puts the file in its place. What it replaces is whole until the new one is
    /// on the disk.
    pub fn commit(&mut self) -> Result<()> {
        let mut old = None;
        if self.replaces {
            self.flush()?;
            old = hold(&self.target);
        }
        if let Some(original) = &self.only {
            original.hold_still(&self.target)?;
        }
        self.place()?;
        if self.replaces {
            // The content is safe already; only which name shows is at stake.
            flush_folder(&self.target);
        }
        old.into_iter().for_each(let_go);
        Ok(())
    }

    /// Puts files in place that belong together: the parts, then the index that names
    /// them. Where parts replace others, the old index stands aside until all of them
    /// are there, so that nobody finds parts of two models under one index, not even
    /// after a crash. What fails puts everything back as it was.
    pub fn commit_together(mut parts: Vec<Self>, mut index: Self) -> Result<()> {
        // New parts too: once the old index is gone, they are all there is.
        if index.replaces || parts.iter().any(|part| part.replaces) {
            let mut all = parts.iter_mut().chain([&mut index]);
            all.try_for_each(Self::flush)?;
        }
        let mut exchange = Exchange::default();
        let exchanged = exchange.run(&mut parts, &mut index);
        match exchanged {
            Ok(()) => exchange.keep(),
            Err(error) => return Err(exchange.undo(error)),
        }
        Ok(())
    }
}

impl Original {
    /// Makes sure that the original still stands there, unchanged. Of several that were
    /// made from it, one gets so far at a time.
    fn hold_still(&self, target: &Path) -> Result<()> {
        self.lock();
        let now = fs::metadata(target).map_err(|e| Error::io("write", target, e))?;
        if Identity::of(&now) == self.identity {
            return Ok(());
        }
        let message =
            "the file was changed or replaced meanwhile, so nothing was written; try again";
        Err(Error::new(Code::IoChanged, message).at(target))
    }

    /// Locks the original until it is closed. A caller may have locked it himself, and
    /// some systems cannot: what is left then is the moment between looking and renaming.
    fn lock(&self) {
        #[cfg(unix)]
        for _ in 0..100 {
            match self.file.try_lock() {
                Err(fs::TryLockError::WouldBlock) => {
                    std::thread::sleep(Duration::from_millis(5));
                }
                _ => return,
            }
        }
    }
}

/// Files that were put in place, and what stood there before.
#[derive(Debug, Default)]
struct Exchange {
    steps: Vec<Step>,
    /// Whether the first step was that of the old index.
    index_aside: bool,
}

#[derive(Debug)]
struct Step {
    target: PathBuf,
    /// Where the old file is now, held open.
    aside: Option<(PathBuf, Option<File>)>,
}

impl Exchange {
    fn run(&mut self, parts: &mut [AtomicFile], index: &mut AtomicFile) -> Result<()> {
        let mixing = parts.iter().any(|part| part.target.exists());
        if mixing {
            self.step_aside(index)?;
            self.index_aside = !self.steps.is_empty();
            flush_folder(&index.target);
        }
        for part in parts {
            self.step_aside(part)?;
            self.place(part)?;
        }
        if mixing || index.replaces {
            flush_folder(&index.target);
        }
        self.place(index)?;
        if mixing || index.replaces {
            flush_folder(&index.target);
        }
        Ok(())
    }

    /// Renames what is at the file's target, if anything is.
    fn step_aside(&mut self, file: &AtomicFile) -> Result<()> {
        let target = &file.target;
        if regular(target)?.is_none() {
            return Ok(());
        }
        let old = hold(target);
        let aside = aside_name(target);
        fs::rename(target, &aside).map_err(|e| file.failed(e))?;
        self.steps.push(Step {
            target: target.clone(),
            aside: Some((aside, old)),
        });
        Ok(())
    }

    fn place(&mut self, file: &mut AtomicFile) -> Result<()> {
        file.place()?;
        if self.steps.iter().all(|step| step.target != file.target) {
            self.steps.push(Step {
                target: file.target.clone(),
                aside: None,
            });
        }
        Ok(())
    }

    /// Forgets what stood there before, also what an exchange left that was killed.
    fn keep(self) {
        for step in &self.steps {
            if let Some((path, _)) = &step.aside {
                let _ = fs::remove_file(path);
            }
        }
        if let Some(step) = self.steps.first() {
            let names = self.steps.iter().filter_map(|step| step.target.file_name());
            let replaced: HashSet<_> = names.map(OsStr::as_encoded_bytes).collect();
            let folder = fs::read_dir(folder_of(&step.target));
            for entry in folder.into_iter().flatten().flatten() {
                if original_of(&entry.file_name()).is_some_and(|name| replaced.contains(name)) {
                    let _ = fs::remove_file(entry.path());
                }
            }
        }
        let old = self.steps.into_iter().filter_map(|step| step.aside?.1);
        old.for_each(let_go);
    }

    /// Puts back what stood there before, the index last. Where the system refuses that
    /// too, the error says where the old files are.
    fn undo(self, mut error: Error) -> Error {
        let mut steps = self.steps;
        let mut lost = false;
        while let Some(step) = steps.pop() {
            match &step.aside {
                // Not while parts are missing: that would be the mixture.
                Some(_) if lost && self.index_aside && steps.is_empty() => {}
                Some((aside, _)) if fs::rename(aside, &step.target).is_ok() => {
                    flush_folder(&step.target);
                    continue;
                }
                None if fs::remove_file(&step.target).is_ok() => continue,
                _ => {}
            }
            lost = true;
            if let Some((aside, _)) = &step.aside {
                error = error.note(&format!(
                    "'{}' could not be put back and is now '{}'",
                    step.target.display(),
                    aside.display()
                ));
            }
        }
        error
    }
}

/// The old file, open, to be given back once it is replaced. Elsewhere than on Unix a file
/// that is open may not be replaced at all.
fn hold(path: &Path) -> Option<File> {
    cfg!(unix).then(|| File::open(path).ok()).flatten()
}

/// Gives an old file back to the system. For a large one that takes a while, which
/// nobody needs to wait for.
fn let_go(old: File) {
    if old.metadata().is_ok_and(|facts| facts.len() >= FLUSH_BYTES) {
        let _ = std::thread::Builder::new().spawn(move || drop(old));
    }
}

/// Makes the names in a file's folder durable, where the system can.
fn flush_folder(target: &Path) {
    #[cfg(unix)]
    {
        let _ = File::open(folder_of(target)).and_then(|folder| folder.sync_all());
    }
    #[cfg(not(unix))]
    let _ = target;
}

fn folder_of(target: &Path) -> &Path {
    target
        .parent()
        .filter(|p| !p.as_os_str().is_empty())
        .unwrap_or(Path::new("."))
}

impl Drop for AtomicFile {
    fn drop(&mut self) {
        let _ = self.flushed();
        if !self.done {
            let _ = fs::remove_file(&self.temporary);
        }
    }
}

/// What stands at `path`, if anything does. Only a regular file may be replaced.
fn regular(path: &Path) -> Result<Option<fs::Metadata>> {
    match fs::metadata(path) {
        Ok(facts) if facts.is_file() => Ok(Some(facts)),
        Ok(_) => Err(Error::new(
            Code::Io,
            format!(
                "cannot write '{}': it is not a regular file",
                path.display()
            ),
        )
        .at(path)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(Error::io("write", path, e)),
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

/// A name beside the target that nothing has. It is short whatever the target's is.
fn temporary_name(target: &Path) -> PathBuf {
    target.with_file_name(format!("{PREFIX}{}{SUFFIX}", unique()))
}

/// The same for what stood at the target. It is never tidied up, since it may be all that
/// is left of a model, and says what it was, unless that is too long.
fn aside_name(target: &Path) -> PathBuf {
    const MOST_BYTES: usize = 180;
    let mut name = OsString::from(format!("{PREFIX}{}", unique()));
    if let Some(original) = target.file_name()
        && original.len() <= MOST_BYTES
    {
        name.push(".");
        name.push(original);
    }
    name.push(ASIDE);
    target.with_file_name(name)
}

/// What a file that stands aside was called, in the encoding of such names.
fn original_of(name: &OsStr) -> Option<&[u8]> {
    let rest = name.as_encoded_bytes().strip_prefix(PREFIX.as_bytes())?;
    let rest = rest.strip_suffix(ASIDE.as_bytes())?;
    let at = rest.iter().position(|&byte| byte == b'.')?;
    let (id, original) = (rest.get(..at)?, rest.get(at + 1..)?);
    std::str::from_utf8(id)
        .is_ok_and(is_unique)
        .then_some(original)
}

/// Process, count and time.
fn unique() -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let nanos = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |d| d.subsec_nanos());
    let nth = COUNT.fetch_add(1, Ordering::Relaxed);
    format!("{:x}-{nth:x}-{nanos:x}", std::process::id())
}

fn is_unique(text: &str) -> bool {
    let number = |part: &str| {
        (1..=16).contains(&part.len())
            && part.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
    };
    text.split('-').count() == 3 && text.split('-').all(number)
}

const PREFIX: &str = ".deathtensors-";
const SUFFIX: &str = ".tmp";
const ASIDE: &str = ".old";

/// A new file in the target's folder, with the permissions that the process's
/// umask gives, locked.
fn sibling(target: &Path) -> io::Result<(File, PathBuf)> {
    const TRIES: usize = 100;
    if target.file_name().is_none() {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "the path has no file name",
        ));
    }
    tidy(folder_of(target));
    let mut last = io::Error::other("no free name for a temporary file");
    for _ in 0..TRIES {
        let temporary = temporary_name(target);
        match OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .open(&temporary)
        {
            Ok(file) => {
                lock(&file);
                return Ok((file, temporary));
            }
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => last = e,
            Err(e) => return Err(e),
        }
    }
    Err(last)
}

/// Locks a file for as long as it is open, if the system can: it ends with the process,
/// however that ends. Elsewhere than on Unix, a lock would keep readers out.
fn lock(file: &File) {
    #[cfg(unix)]
    let _ = file.try_lock();
    #[cfg(not(unix))]
    let _ = file;
}

/// Removes the temporary files of processes that were killed: those that nobody holds a
/// lock on, and that were neither written nor renamed for a while. The lock tells across
/// containers too, which process numbers do not; the while is for filesystems whose locks
/// other machines do not see.
fn tidy(folder: &Path) {
    #[cfg(unix)]
    {
        /// The folder that was looked through last, and when: a sharded save starts many
        /// files in one.
        static LAST: Mutex<Option<(PathBuf, Instant)>> = Mutex::new(None);
        const AGAIN_AFTER: Duration = Duration::from_secs(60);
        let mut last = LAST.lock().unwrap_or_else(PoisonError::into_inner);
        if last
            .as_ref()
            .is_some_and(|(path, when)| path == folder && when.elapsed() < AGAIN_AFTER)
        {
            return;
        }
        *last = Some((folder.into(), Instant::now()));
        drop(last);
        let Ok(entries) = fs::read_dir(folder) else {
            return;
        };
        for entry in entries.flatten() {
            if entry.file_name().to_str().is_some_and(is_temporary) {
                remove_if_stale(&entry.path());
            }
        }
    }
    #[cfg(not(unix))]
    let _ = folder;
}

/// Whether a name is one that [`temporary_name`] makes.
#[cfg(unix)]
fn is_temporary(name: &str) -> bool {
    let id = name.strip_prefix(PREFIX);
    id.and_then(|rest| rest.strip_suffix(SUFFIX))
        .is_some_and(is_unique)
}

#[cfg(unix)]
fn remove_if_stale(path: &Path) {
    use std::os::unix::fs::MetadataExt;
    const STALE_AFTER: Duration = Duration::from_secs(3600);
    let Ok(facts) = fs::symlink_metadata(path) else {
        return;
    };
    let changed = facts.mtime().max(facts.ctime());
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |d| d.as_secs());
    // Not links and pipes: whoever made those, it was not this library.
    let old = facts.is_file()
        && u64::try_from(changed).is_ok_and(|at| now.saturating_sub(at) >= STALE_AFTER.as_secs());
    if old
        && let Ok(file) = File::open(path)
        && file.try_lock().is_ok()
    {
        let _ = fs::remove_file(path);
    }
}
