//! Progress of long work: signals are looked at, and a callable is told.

use crate::errors::raise;
use deathtensors::core::Code;
use deathtensors::{Error, Progress, Result};
use pyo3::prelude::*;
use std::time::{Duration, Instant};

/// How often Python hears of the work.
const EVERY: Duration = Duration::from_millis(50);

pub struct Reporter {
    callback: Option<Py<PyAny>>,
    done: u64,
    total: u64,
    told: Instant,
    raised: Option<PyErr>,
}

impl Progress for Reporter {
    fn start(&mut self, total: u64) {
        self.total = total;
        // The first piece of work is reported at once, so that a callable can
        // also cancel what takes no time.
        if self.callback.is_some() {
            self.told = Instant::now().checked_sub(EVERY).unwrap_or(self.told);
        }
    }

    fn advance(&mut self, bytes: u64) -> Result<()> {
        self.done += bytes;
        if self.told.elapsed() < EVERY {
            return Ok(());
        }
        self.told = Instant::now();
        let told = Python::attach(|py| {
            py.check_signals()?;
            self.callback.as_ref().map_or(Ok(()), |call| {
                call.call1(py, (self.done, self.total)).map(drop)
            })
        });
        told.map_err(|raised| {
            self.raised = Some(raised);
            Error::new(Code::IoInterrupted, "cancelled")
        })
    }
}

/// Runs `work` without the interpreter, and turns what went wrong into an
/// exception: the one that a signal or the callable raised, if it was that.
pub fn run<T: Send>(
    py: Python<'_>,
    callback: Option<Py<PyAny>>,
    work: impl FnOnce(&mut Reporter) -> Result<T> + Send,
) -> PyResult<T> {
    let mut reporter = Reporter {
        callback,
        done: 0,
        total: 0,
        told: Instant::now(),
        raised: None,
    };
    let result = py.detach(|| work(&mut reporter));
    match result {
        Ok(value) => {
            if let Some(call) = &reporter.callback {
                call.call1(py, (reporter.total, reporter.total))?;
            }
            Ok(value)
        }
        Err(error) => Err(reporter.raised.take().unwrap_or_else(|| raise(py, error))),
    }
}

impl Reporter {
    /// Calls into Python in the middle of work; what is raised there cancels it.
    pub fn python<T>(&mut self, call: impl FnOnce(Python<'_>) -> PyResult<T>) -> Result<T> {
        Python::attach(call).map_err(|raised| {
            self.raised = Some(raised);
            Error::new(Code::IoInterrupted, "cancelled")
        })
    }
}
