//! Mistakes on purpose. `sanitizers.sh` builds this with the same flags as the tests: a
//! sanitizer that lets one of these pass would have let everything pass.

use std::sync::{Arc, Mutex};
use std::thread;

fn main() {
    match std::env::args().nth(1).as_deref() {
        Some("freed") => {
            let bytes = vec![1u8; 100];
            let address = bytes.as_ptr();
            drop(bytes);
            // SAFETY: none.
            println!("{}", unsafe { address.add(5).read_volatile() });
        }
        Some("outside") => {
            let bytes = vec![1u8; 100];
            // SAFETY: none.
            println!("{}", unsafe { bytes.as_ptr().add(100).read_volatile() });
        }
        Some("uninitialised") => {
            let bytes: Vec<u8> = Vec::with_capacity(100);
            // SAFETY: none.
            if unsafe { bytes.as_ptr().add(5).read_volatile() } == 77 {
                println!("by chance");
            }
        }
        Some("race") => {
            static mut COUNT: u64 = 0;
            // SAFETY: none.
            let count = || (0..1000).for_each(|_| unsafe { COUNT += 1 });
            thread::scope(|scope| {
                scope.spawn(count);
                count();
            });
        }
        // No mistake: what must not be reported.
        Some("fine") => {
            let count = Arc::new(Mutex::new(0u64));
            let add = |count: Arc<Mutex<u64>>| (0..1000).for_each(|_| *count.lock().unwrap() += 1);
            let threads: Vec<_> = (0..4)
                .map(|_| {
                    let count = count.clone();
                    thread::spawn(move || add(count))
                })
                .collect();
            threads.into_iter().for_each(|thread| thread.join().unwrap());
            assert_eq!(*count.lock().unwrap(), 4000);
        }
        other => panic!("what mistake? {other:?}"),
    }
}
