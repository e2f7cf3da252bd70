//! One pool of threads, sized by the caller, the environment or the machine.

use crate::error::{Error, Result};
use crate::options::Progress;
use deathtensors_core::Code;
use rayon::prelude::*;
use rayon::{ThreadPool, ThreadPoolBuilder};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::Thread;
use std::time::Duration;

static WANTED: AtomicUsize = AtomicUsize::new(0);
static POOL: Mutex<Option<Pool>> = Mutex::new(None);

struct Pool {
    process: u32,
    pool: Arc<ThreadPool>,
}

/// Uses `n` threads from now on; none goes back to the default.
pub fn set_num_threads(n: Option<usize>) {
    WANTED.store(n.unwrap_or(0), Ordering::Relaxed);
}

/// How many threads long work uses: what was set, else the environment variable
/// `DEATHTENSORS_NUM_THREADS`, else the cores that this process may use.
pub fn num_threads() -> usize {
    const MOST: usize = 1024;
    let set = match WANTED.load(Ordering::Relaxed) {
        0 => std::env::var("DEATHTENSORS_NUM_THREADS")
            .ok()
            .and_then(|text| text.trim().parse().ok()),
        n => Some(n),
    };
    let machine = || std::thread::available_parallelism().map_or(1, usize::from);
    set.filter(|&n| n > 0).unwrap_or_else(machine).min(MOST)
}

/// Runs `work` with parallel iterators spread over the pool. With one thread, or
/// where none can be started, it runs here.
pub(crate) fn run<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    match pool() {
        Some(pool) => pool.install(work),
        None => work(),
    }
}

/// Does `each` to all items in parallel. Of several errors the first in the order of the
/// items is returned, so that the same input is refused for the same reason every time.
pub(crate) fn try_each<I: IndexedParallelIterator>(
    items: I,
    each: impl Fn(I::Item) -> Result<()> + Sync + Send,
) -> Result<()> {
    let failed = items.map(each).find_map_first(Result::err);
    failed.map_or(Ok(()), Err)
}

fn pool() -> Option<Arc<ThreadPool>> {
    let threads = num_threads();
    // After a fork the threads of the parent's pool do not exist here.
    let process = std::process::id();
    let mut slot = POOL.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(held) = slot.as_ref()
        && held.process == process
        && held.pool.current_num_threads() == threads
    {
        return Some(held.pool.clone());
    }
    let pool = ThreadPoolBuilder::new()
        .num_threads(threads)
        .thread_name(|n| format!("deathtensors-{n}"))
        .build()
        .ok()
        .map(Arc::new)?;
    let old = slot.replace(Pool {
        process,
        pool: pool.clone(),
    });
    // Dropping a pool joins its threads, which a forked child must not wait for.
    if let Some(old) = old.filter(|old| old.process != process) {
        std::mem::forget(old);
    }
    Some(pool)
}

/// Runs `there` in the pool while `here` runs on this thread.
pub(crate) fn beside<A: Send, B>(
    there: impl FnOnce() -> A + Send,
    here: impl FnOnce() -> B,
) -> (A, B) {
    let Some(pool) = pool() else {
        return (there(), here());
    };
    let mut first = None;
    let second = pool.in_place_scope(|scope| {
        scope.spawn(|_| first = Some(there()));
        here()
    });
    match first {
        Some(first) => (first, second),
        // A scope ends only when what was spawned in it has.
        None => unreachable!("the pool dropped its work"),
    }
}

/// What work in the pool tells the thread that waits for it, and hears from it.
#[derive(Default)]
pub(crate) struct Tally {
    done: AtomicU64,
    stop: AtomicBool,
}

impl Progress for &Tally {
    fn advance(&mut self, bytes: u64) -> Result<()> {
        self.done.fetch_add(bytes, Ordering::Relaxed);
        match self.stop.load(Ordering::Relaxed) {
            true => Err(Error::new(Code::IoInterrupted, "cancelled")),
            false => Ok(()),
        }
    }
}

/// Runs `work` in the pool while this thread reports what it has done. What the
/// report cancels with is returned, once the work has heard of it.
pub(crate) fn watched<T: Send>(
    progress: &mut dyn Progress,
    work: impl FnOnce(&Tally) -> T + Send,
) -> Result<T> {
    const EVERY: Duration = Duration::from_millis(20);
    /// Wakes the waiting thread, also when the work panics.
    struct Finished<'a>(&'a AtomicBool, Thread);
    impl Drop for Finished<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Release);
            self.1.unpark();
        }
    }
    let tally = Tally::default();
    let finished = AtomicBool::new(false);
    let waiter = std::thread::current();
    let mut told = 0;
    let (value, reported) = beside(
        || {
            let _finished = Finished(&finished, waiter);
            work(&tally)
        },
        || {
            while !finished.load(Ordering::Acquire) {
                std::thread::park_timeout(EVERY);
                let now = tally.done.load(Ordering::Relaxed);
                let step = now - std::mem::replace(&mut told, now);
                if let Err(cancelled) = progress.advance(step) {
                    tally.stop.store(true, Ordering::Relaxed);
                    return Err(cancelled);
                }
            }
            Ok(())
        },
    );
    reported?;
    progress.advance(tally.done.load(Ordering::Relaxed) - told)?;
    Ok(value)
}
