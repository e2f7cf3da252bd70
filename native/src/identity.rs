//! Which file it is that stands at a path.

use std::fs::Metadata;

/// Tells a file from another one by the same name, and from itself before it was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Identity([i128; 5]);

impl Identity {
    pub fn of(facts: &Metadata) -> Self {
        #[cfg(unix)]
        {
            use std::os::unix::fs::MetadataExt;
            Self([
                facts.dev().into(),
                facts.ino().into(),
                facts.len().into(),
                facts.mtime().into(),
                facts.mtime_nsec().into(),
            ])
        }
        #[cfg(not(unix))]
        {
            let nanos = |time: std::io::Result<std::time::SystemTime>| {
                let since = time.ok()?.duration_since(std::time::UNIX_EPOCH).ok()?;
                Some(since.as_nanos() as i128)
            };
            let [made, changed] = [facts.created(), facts.modified()].map(nanos);
            let times = [made.unwrap_or(0), changed.unwrap_or(0)];
            Self([facts.len().into(), times[0], times[1], 0, 0])
        }
    }
}
