//! Memory that Python and this module share: the only unsafe code here.
//!
//! Invariants:
//! 1. A [`Buffer`]'s address stays valid for as long as the object lives, since it
//!    owns (or shares by `Arc`) what the address points into, and never moves it.
//!    Python keeps the object alive while any view of it exists.
//! 2. Rust forms no reference into a writable buffer once Python may have it.
//! 3. [`Held`] memory belongs to a Python object that is kept from being freed or
//!    resized: by an exported buffer, or by a DLPack capsule whose deleter has not
//!    been called. It is contiguous and as long as was checked.
//! 4. Other Python threads may write to held memory while it is being read, as
//!    with every library that reads arrays without the interpreter's lock; the
//!    bytes are plain numbers, for which any value is valid.

use deathtensors::{Memory, PrivateMapping, TensorFile};
use pyo3::exceptions::{PyBufferError, PyTypeError};
use pyo3::ffi;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyCapsule;
use std::ffi::{CStr, c_char, c_int, c_void};
use std::sync::Arc;

/// One tensor's bytes, through the buffer protocol.
#[pyclass(frozen, module = "deathtensors._deathtensors")]
pub struct Buffer {
    address: *mut u8,
    length: usize,
    writable: bool,
    owner: Owner,
}

#[expect(dead_code, reason = "owners are held, not read")]
enum Owner {
    Mapping(Arc<PrivateMapping>),
    File(Arc<TensorFile>),
    Memory(Memory),
}

// SAFETY: the address points into what `owner` holds (invariant 1), and all owners
// are Send and Sync themselves; this type reads and writes nothing through it.
unsafe impl Send for Buffer {}
// SAFETY: as above.
unsafe impl Sync for Buffer {}

impl Buffer {
    /// A writable view of a copy-on-write mapping.
    pub fn from_mapping(
        mapping: Arc<PrivateMapping>,
        part: std::ops::Range<usize>,
    ) -> Option<Self> {
        let address = mapping.address(&part)?;
        Some(Self {
            address,
            length: part.len(),
            writable: true,
            owner: Owner::Mapping(mapping),
        })
    }

    /// A read-only view of a file's bytes; `borrow` takes it from the file.
    pub fn from_file(
        file: Arc<TensorFile>,
        borrow: impl FnOnce(&TensorFile) -> Option<&[u8]>,
    ) -> Option<Self> {
        let bytes = borrow(&file)?;
        let (address, length) = (bytes.as_ptr().cast_mut(), bytes.len());
        Some(Self {
            address,
            length,
            writable: false,
            owner: Owner::File(file),
        })
    }

    /// Memory of its own.
    pub fn from_memory(memory: Memory, writable: bool) -> Self {
        Self {
            address: memory.address(),
            length: memory.len(),
            writable,
            owner: Owner::Memory(memory),
        }
    }
}

#[pymethods]
impl Buffer {
    #[getter]
    fn nbytes(&self) -> usize {
        self.length
    }

    #[getter]
    fn is_view(&self) -> bool {
        !matches!(self.owner, Owner::Memory(_))
    }

    fn __len__(&self) -> usize {
        self.length
    }

    unsafe fn __getbuffer__(
        slf: Bound<'_, Self>,
        view: *mut ffi::Py_buffer,
        flags: c_int,
    ) -> PyResult<()> {
        let (address, length, readonly) = {
            let this = slf.get();
            (this.address, this.length, !this.writable)
        };
        let length =
            isize::try_from(length).map_err(|_| PyBufferError::new_err("buffer is too long"))?;
        // SAFETY: `view` is the caller's; the call fills it and takes a reference
        // to `slf`, which keeps the address valid (invariant 1).
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
    address: *const u8,
    length: usize,
    _owner: HeldOwner,
}

#[expect(dead_code, reason = "owners are held, not read")]
enum HeldOwner {
    Buffer(View),
    Capsule(Managed),
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
            return Self::from_buffer(object);
        }
        let py = object.py();
        let Some(export) = object.getattr_opt(intern!(py, "__dlpack__"))? else {
            let kind = object.get_type().qualname()?;
            return Err(PyTypeError::new_err(format!(
                "{kind} has neither the buffer protocol nor __dlpack__"
            )));
        };
        Self::from_capsule(&export.call0()?)
    }

    /// Its bytes.
    pub fn bytes(&self) -> &[u8] {
        if self.length == 0 {
            return &[];
        }
        // SAFETY: invariants 3 and 4.
        unsafe { std::slice::from_raw_parts(self.address, self.length) }
    }

    fn from_buffer(object: &Bound<'_, PyAny>) -> PyResult<Self> {
        let view = View::take(object)?;
        let (address, length) = (view.0.buf.cast(), usize::try_from(view.0.len).unwrap_or(0));
        Ok(Self {
            address,
            length,
            _owner: HeldOwner::Buffer(view),
        })
    }

    fn from_capsule(object: &Bound<'_, PyAny>) -> PyResult<Self> {
        let managed = Managed::take(object)?;
        // SAFETY: the capsule was a DLPack one, and `managed` now owns its tensor.
        let tensor = unsafe { &(*managed.0).tensor };
        if !matches!(tensor.device_type, DL_CPU | DL_CUDA_HOST) {
            return Err(PyBufferError::new_err("the tensor is not in CPU memory"));
        }
        let dims = usize::try_from(tensor.ndim).unwrap_or(0);
        let part = |address: *const i64| {
            if dims == 0 || address.is_null() {
                return &[][..];
            }
            // SAFETY: DLPack promises `ndim` numbers there.
            unsafe { std::slice::from_raw_parts(address, dims) }
        };
        let (shape, strides) = (part(tensor.shape), part(tensor.strides));
        let mut count = 1i64;
        let mut contiguous = true;
        for (nth, &dim) in shape.iter().enumerate().rev() {
            contiguous &= dim <= 1 || strides.get(nth).is_none_or(|&stride| stride == count);
            count = count
                .checked_mul(dim.max(0))
                .ok_or_else(|| PyBufferError::new_err("the tensor is too large"))?;
        }
        if count > 0 && !contiguous {
            return Err(PyBufferError::new_err("the tensor is not contiguous"));
        }
        let bits = u64::from(tensor.bits) * u64::from(tensor.lanes);
        let length = (count as u64)
            .checked_mul(bits)
            .map(|bits| bits.div_ceil(8))
            .and_then(|n| usize::try_from(n).ok());
        let length = length.ok_or_else(|| PyBufferError::new_err("the tensor is too large"))?;
        let offset = usize::try_from(tensor.byte_offset).unwrap_or(0);
        Ok(Self {
            address: tensor.data.cast::<u8>().wrapping_add(offset),
            length,
            _owner: HeldOwner::Capsule(managed),
        })
    }
}

/// A buffer that an object exports, C-contiguous. It is boxed, since exporters may
/// point into the view itself.
struct View(Box<ffi::Py_buffer>);

impl View {
    fn take(object: &Bound<'_, PyAny>) -> PyResult<Self> {
        let mut view = Box::new(ffi::Py_buffer::new());
        // SAFETY: the object is alive, and fills the view or raises.
        match unsafe { ffi::PyObject_GetBuffer(object.as_ptr(), &raw mut *view, ffi::PyBUF_SIMPLE) }
        {
            0 => Ok(Self(view)),
            _ => Err(PyErr::fetch(object.py())),
        }
    }
}

impl Drop for View {
    fn drop(&mut self) {
        // SAFETY: `take` filled it, and it is released once.
        Python::attach(|_| unsafe { ffi::PyBuffer_Release(&raw mut *self.0) });
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
struct Managed(*mut DlManagedTensor);

impl Managed {
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
            if pointer.is_null() || ffi::PyCapsule_SetName(capsule.as_ptr(), address(USED)) != 0 {
                return Err(PyErr::fetch(object.py()));
            }
            Ok(Self(pointer.cast()))
        }
    }
}

impl Drop for Managed {
    fn drop(&mut self) {
        // SAFETY: `take` made this the only owner; deleters may use the interpreter.
        Python::attach(|_| unsafe {
            if let Some(deleter) = (*self.0).deleter {
                deleter(self.0);
            }
        });
    }
}
