//! Memory that Python and this module share: the only unsafe code here.
//!
//! # Invariants
//!
//! 1. What a [`Buffer`] shows stays where it is for as long as the object lives: it owns it, or
//!    shares it by `Arc`. Python keeps the object alive while any view of it exists.
//! 2. Rust forms no reference into a writable buffer: `ForeignMemory` and `PrivateMapping`
//!    give addresses only.
//! 3. [`Held`] memory belongs to a Python object that is kept from being freed or
//!    resized: by an exported buffer, or by a DLPack capsule whose deleter has not
//!    been called. It is contiguous, and its address and length were checked to be a
//!    slice's; its content is of no importance for that.
//! 4. Other Python threads may write to held memory while it is being read, as
//!    with every library that reads arrays without the interpreter's lock. The
//!    bytes are plain numbers, for which any value is valid: they are hashed,
//!    compressed by zstd and written, and nothing is decided by them.
//!
//! # Why each unsafe block holds
//!
//! | where | relies on |
//! |---|---|
//! | `__getbuffer__` | 1; CPython fills its own view |
//! | `Send`, `Sync` for `Held` | 3 and 4: any thread may read it; what frees it attaches to the interpreter |
//! | `Held::new` | any object may be asked |
//! | `Held::bytes` | 3: `checked` made it |
//! | `Capsule::place` | the capsule said by its name that it is a DLPack tensor |
//! | `View` | filled by CPython, never moved, released once |
//! | `Capsule::take`, `drop` | the name is changed when the tensor is taken, so nobody else calls its deleter |

use deathtensors::{ForeignMemory, Memory, PrivateMapping, TensorFile};
use pyo3::exceptions::{PyBufferError, PyTypeError};
use pyo3::ffi;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyCapsule;
use std::ffi::{CStr, c_char, c_int, c_void};
use std::ops::Range;
use std::ptr::NonNull;
use std::sync::Arc;

/// One tensor's bytes, through the buffer protocol.
#[pyclass(frozen, module = "deathtensors._deathtensors")]
pub struct Buffer {
    owner: Owner,
    writable: bool,
}

enum Owner {
    /// A part of a copy-on-write mapping.
    Mapping(Arc<PrivateMapping>, Range<usize>),
    /// A span of the nth tensor of a file that can be borrowed.
    File(Arc<TensorFile>, usize, Range<u64>),
    Memory(ForeignMemory),
}

impl Buffer {
    /// A writable view of a copy-on-write mapping.
    pub fn from_mapping(mapping: Arc<PrivateMapping>, part: Range<usize>) -> Option<Self> {
        mapping.address(&part)?;
        Some(Self {
            owner: Owner::Mapping(mapping, part),
            writable: true,
        })
    }

    /// A read-only view of a span of a file's nth tensor, where there is one.
    pub fn from_file(file: Arc<TensorFile>, nth: usize, data: Range<u64>) -> Option<Self> {
        file.borrow(nth, &data)?;
        Some(Self {
            owner: Owner::File(file, nth, data),
            writable: false,
        })
    }

    /// Memory of its own.
    pub fn from_memory(memory: Memory, writable: bool) -> Self {
        Self {
            owner: Owner::Memory(memory.into_foreign()),
            writable,
        }
    }

    /// Where its bytes are, and how many, the same whenever it is asked.
    fn place(&self) -> Option<(*mut u8, usize)> {
        match &self.owner {
            Owner::Mapping(mapping, part) => Some((mapping.address(part)?, part.len())),
            Owner::File(file, nth, data) => {
                let bytes = file.borrow(*nth, data)?;
                Some((bytes.as_ptr().cast_mut(), bytes.len()))
            }
            Owner::Memory(memory) => Some((memory.address(), memory.len())),
        }
    }
}

#[pymethods]
impl Buffer {
    #[getter]
    fn nbytes(&self) -> usize {
        match &self.owner {
            Owner::Mapping(_, part) => part.len(),
            // A span that could be borrowed fits into memory.
            Owner::File(_, _, data) => (data.end - data.start) as usize,
            Owner::Memory(memory) => memory.len(),
        }
    }

    #[getter]
    fn is_view(&self) -> bool {
        !matches!(self.owner, Owner::Memory(_))
    }

    fn __len__(&self) -> usize {
        self.nbytes()
    }

    unsafe fn __getbuffer__(
        slf: Bound<'_, Self>,
        view: *mut ffi::Py_buffer,
        flags: c_int,
    ) -> PyResult<()> {
        let gone = || PyBufferError::new_err("the file's bytes cannot be borrowed");
        let (address, length) = slf.get().place().ok_or_else(gone)?;
        let readonly = !slf.get().writable;
        let length =
            isize::try_from(length).map_err(|_| PyBufferError::new_err("buffer is too long"))?;
        // SAFETY: `view` is the caller's; the call fills it and takes a reference
        // to `slf`, which keeps the address valid (invariant 1). A view of what must not be
        // written to is marked so.
        let code = unsafe {
            ffi::PyBuffer_FillInfo(
                view,
                slf.as_ptr(),
                address.cast(),
                length,
                c_int::from(readonly),
                flags,
            )
        };
        if code == 0 {
            Ok(())
        } else {
            Err(PyErr::fetch(slf.py()))
        }
    }
}

/// Memory of a Python object, held while its bytes are written to a file.
pub struct Held {
    address: NonNull<u8>,
    length: usize,
    _owner: HeldOwner,
}

#[expect(dead_code, reason = "owners are held, not read")]
enum HeldOwner {
    Buffer(View),
    Capsule(Capsule),
}

// SAFETY: invariants 3 and 4: the memory stays where it is, and is only read.
unsafe impl Send for Held {}
// SAFETY: as above.
unsafe impl Sync for Held {}

impl Held {
    /// Holds the bytes of an object with the buffer protocol or with DLPack.
    pub fn new(object: &Bound<'_, PyAny>) -> PyResult<Self> {
        // SAFETY: any object may be asked.
        if unsafe { ffi::PyObject_CheckBuffer(object.as_ptr()) } != 0 {
            let view = View::take(object)?;
            let (address, length) = view.place();
            return Self::checked(address, length, HeldOwner::Buffer(view));
        }
        let py = object.py();
        let Some(export) = object.getattr_opt(intern!(py, "__dlpack__"))? else {
            let kind = object.get_type().qualname()?;
            return Err(PyTypeError::new_err(format!(
                "{kind} has neither the buffer protocol nor __dlpack__"
            )));
        };
        let capsule = Capsule::take(&export.call0()?)?;
        let (address, length) = capsule.place()?;
        Self::checked(address, Some(length), HeldOwner::Capsule(capsule))
    }

    /// Refuses what is no slice, whoever says that it is there.
    fn checked(address: *mut u8, length: Option<usize>, owner: HeldOwner) -> PyResult<Self> {
        let refuse = |why: &'static str| PyBufferError::new_err(why);
        let length = length.ok_or_else(|| refuse("the buffer says that its length is negative"))?;
        let address = match length {
            0 => NonNull::dangling(),
            _ => NonNull::new(address)
                .ok_or_else(|| refuse("the buffer says that its bytes are nowhere"))?,
        };
        let fits = isize::try_from(length).is_ok() && address.addr().checked_add(length).is_some();
        if !fits {
            return Err(refuse("the buffer says that it is larger than memory"));
        }
        Ok(Self {
            address,
            length,
            _owner: owner,
        })
    }

    /// Its bytes.
    pub fn bytes(&self) -> &[u8] {
        // SAFETY: invariants 3 and 4; `checked` made sure that this can be a slice.
        unsafe { std::slice::from_raw_parts(self.address.as_ptr(), self.length) }
    }
}

/// A buffer that an object exports, C-contiguous. It stays where it is until it is released,
/// since exporters may point into the view itself.
struct View(NonNull<ffi::Py_buffer>);

impl View {
    fn take(object: &Bound<'_, PyAny>) -> PyResult<Self> {
        let mut view = Box::new(ffi::Py_buffer::new());
        // SAFETY: the object is alive, and fills the view or raises.
        match unsafe { ffi::PyObject_GetBuffer(object.as_ptr(), &raw mut *view, ffi::PyBUF_SIMPLE) }
        {
            0 => Ok(Self(NonNull::from(Box::leak(view)))),
            _ => Err(PyErr::fetch(object.py())),
        }
    }

    /// Its address, and its length unless that is negative.
    fn place(&self) -> (*mut u8, Option<usize>) {
        // SAFETY: `take` filled it, and only `drop` ends it.
        let view = unsafe { self.0.as_ref() };
        (view.buf.cast(), usize::try_from(view.len).ok())
    }
}

impl Drop for View {
    fn drop(&mut self) {
        // SAFETY: `take` filled it and leaked its box; both end here, once.
        Python::attach(|_| unsafe {
            ffi::PyBuffer_Release(self.0.as_ptr());
            drop(Box::from_raw(self.0.as_ptr()));
        });
    }
}

const DL_CPU: i32 = 1;
const DL_CUDA_HOST: i32 = 3;
const FRESH: &CStr = c"dltensor";
const USED: &CStr = c"used_dltensor";

/// DLPack's `DLManagedTensor` (dlpack.h, before version 1.0, which every producer
/// still gives when not asked for more).
#[repr(C)]
struct DlManagedTensor {
    tensor: DlTensor,
    manager: *mut c_void,
    deleter: Option<unsafe extern "C" fn(*mut DlManagedTensor)>,
}

#[repr(C)]
struct DlTensor {
    data: *mut c_void,
    device_type: i32,
    device_id: i32,
    ndim: i32,
    code: u8,
    bits: u8,
    lanes: u16,
    shape: *const i64,
    strides: *const i64,
    byte_offset: u64,
}

/// A tensor taken over from a capsule; its deleter is called once, on drop.
struct Capsule(NonNull<DlManagedTensor>);

impl Capsule {
    fn take(object: &Bound<'_, PyAny>) -> PyResult<Self> {
        let capsule = object
            .cast::<PyCapsule>()
            .map_err(|_| PyTypeError::new_err("__dlpack__ gave no capsule"))?;
        let address = |name: &CStr| name.as_ptr().cast::<c_char>();
        // SAFETY: the capsule is alive; the name is checked before its pointer is
        // used, and changed at once, so that its own destructor leaves the tensor.
        unsafe {
            if ffi::PyCapsule_IsValid(capsule.as_ptr(), address(FRESH)) == 0 {
                return Err(PyTypeError::new_err(
                    "__dlpack__ gave a capsule that is not a fresh 'dltensor'",
                ));
            }
            let pointer = ffi::PyCapsule_GetPointer(capsule.as_ptr(), address(FRESH));
            match NonNull::new(pointer) {
                Some(pointer) if ffi::PyCapsule_SetName(capsule.as_ptr(), address(USED)) == 0 => {
                    Ok(Self(pointer.cast()))
                }
                _ => Err(PyErr::fetch(object.py())),
            }
        }
    }

    /// Where its bytes are, and how many.
    fn place(&self) -> PyResult<(*mut u8, usize)> {
        // SAFETY: the capsule was a DLPack one, and its tensor is this one's own now.
        let tensor = unsafe { &self.0.as_ref().tensor };
        if !matches!(tensor.device_type, DL_CPU | DL_CUDA_HOST) {
            return Err(PyBufferError::new_err("the tensor is not in CPU memory"));
        }
        let malformed = || PyBufferError::new_err("the DLPack tensor is malformed");
        let too_large = || PyBufferError::new_err("the tensor is too large");
        let dims = usize::try_from(tensor.ndim).map_err(|_| malformed())?;
        let sizes = |list: *const i64| match dims {
            0 => Some(&[][..]),
            // SAFETY: DLPack promises `ndim` numbers there, for as long as the tensor lives.
            _ => (!list.is_null()).then(|| unsafe { std::slice::from_raw_parts(list, dims) }),
        };
        let shape = sizes(tensor.shape).ok_or_else(malformed)?;
        let strides = sizes(tensor.strides);
        let mut count = 1i64;
        let mut contiguous = true;
        for (nth, &dim) in shape.iter().enumerate().rev() {
            let stride = strides.and_then(|strides| strides.get(nth));
            contiguous &= dim <= 1 || stride.is_none_or(|&stride| stride == count);
            count = count.checked_mul(dim).ok_or_else(too_large)?;
            if dim < 0 {
                return Err(malformed());
            }
        }
        if count > 0 && !contiguous {
            return Err(PyBufferError::new_err("the tensor is not contiguous"));
        }
        let bits = u64::from(tensor.bits) * u64::from(tensor.lanes);
        let length = u64::try_from(count)
            .ok()
            .and_then(|count| count.checked_mul(bits))
            .and_then(|bits| usize::try_from(bits.div_ceil(8)).ok())
            .ok_or_else(too_large)?;
        if length == 0 {
            return Ok((std::ptr::null_mut(), 0));
        }
        let offset = usize::try_from(tensor.byte_offset).map_err(|_| too_large())?;
        let start = NonNull::new(tensor.data.cast::<u8>()).ok_or_else(malformed)?;
        start.addr().checked_add(offset).ok_or_else(too_large)?;
        Ok((start.as_ptr().wrapping_add(offset), length))
    }
}

impl Drop for Capsule {
    fn drop(&mut self) {
        // SAFETY: `take` made this the only owner; deleters may use the interpreter.
        Python::attach(|_| unsafe {
            if let Some(deleter) = self.0.as_ref().deleter {
                deleter(self.0.as_ptr());
            }
        });
    }
}
