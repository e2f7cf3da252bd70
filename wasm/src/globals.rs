//! The few of JavaScript's own types that are needed. All of js-sys would double the
//! module.

use wasm_bindgen::JsValue;
use wasm_bindgen::prelude::wasm_bindgen;

#[wasm_bindgen]
extern "C" {
    /// A plain object.
    pub type Object;

    /// One without fields.
    #[wasm_bindgen(constructor)]
    pub fn new() -> Object;

    #[wasm_bindgen(js_namespace = Reflect, js_name = set)]
    fn reflect_set(object: &Object, key: &str, value: &JsValue) -> bool;

    /// An array of doubles.
    pub type Float64Array;

    /// A copy of these.
    #[wasm_bindgen(constructor)]
    pub fn new(values: &[f64]) -> Float64Array;
}

/// Sets a field of an object that was made here, which cannot fail.
pub(crate) fn set(object: &Object, key: &str, value: impl Into<JsValue>) {
    reflect_set(object, key, &value.into());
}
