//! Schemas.

use crate::support::{code, header};
use deathtensors_core::{Code, Dtype, Expectation, Header, Schema};

fn model() -> Header {
    header(
        r#""w":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24],"metadata":{"layer":"0"}},
           "b":{"dtype":"BF16","shape":[2],"data_offsets":[24,28]}"#,
    )
}

fn like(dtype: Option<Dtype>, shape: Option<&[Option<u64>]>) -> Expectation {
    Expectation {
        dtype,
        shape: shape.map(Into::into),
        metadata_keys: Vec::new(),
    }
}

/// Lines of all problems, of the shape "tensor: …".
fn problems(schema: &Schema) -> Vec<String> {
    let found = schema.problems(&model());
    assert!(
        found
            .iter()
            .all(|e| e.code() == Code::SchemaMismatch && e.tensor_name().is_some())
    );
    found.iter().map(ToString::to_string).collect()
}

#[test]
fn a_file_as_expected() {
    let mut schema = Schema::default();
    let mut w = like(Some(Dtype::F32), Some(&[Some(2), None]));
    w.metadata_keys.push("layer".into());
    schema.expect("w", w);
    schema.expect("b", Expectation::default());
    assert!(schema.validate(&model()).is_ok());
    assert!(schema.problems(&model()).is_empty());
}

#[test]
fn one_problem_is_told_as_it_is() {
    let mut schema = Schema::default();
    schema.expect("b", like(Some(Dtype::F32), None));
    schema.allow_extra(true);
    let error = schema.validate(&model()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "tensor 'b': the dtype is not as expected (expected F32, found BF16)"
    );
    schema.expect("b", like(None, Some(&[None, Some(7)])));
    let error = schema.validate(&model()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "tensor 'b': the shape is not as expected (expected [any, 7], found [2])"
    );
    assert_eq!(
        (error.code(), error.tensor_name()),
        (Code::SchemaMismatch, Some("b"))
    );
}

#[test]
fn all_problems_in_order() {
    let mut schema = Schema::default();
    let mut w = like(Some(Dtype::F16), Some(&[Some(2)]));
    w.metadata_keys = vec!["layer".into(), "rank".into()];
    schema.expect("w", w);
    schema.expect("zz", Expectation::default());
    schema.expect("bb", Expectation::default());
    let lines = problems(&schema);
    assert_eq!(
        lines,
        [
            "tensor 'bb': the tensor is missing (found 'b', which is not expected)",
            "tensor 'zz': the tensor is missing (found 'b', which is not expected)",
            "tensor 'b': the schema does not know this tensor, nor allows extra ones",
            "tensor 'w': the dtype is not as expected (expected F16, found F32)",
            "tensor 'w': the shape is not as expected (expected [2], found [2, 3])",
            "tensor 'w': the metadata lacks a key (expected 'rank')",
        ]
    );
    let error = schema.validate(&model()).unwrap_err();
    assert!(
        error
            .message()
            .starts_with("the file breaks the schema in 6 ways: tensor 'bb'"),
        "{error}"
    );
    assert!(error.message().ends_with("; and 3 more"), "{error}");
    assert_eq!(error.tensor_name(), None);
    schema.allow_extra(true);
    assert_eq!(problems(&schema).len(), 5);
}

#[test]
fn an_empty_schema_wants_an_empty_file() {
    assert_eq!(
        code(Schema::default().validate(&model())),
        Code::SchemaMismatch
    );
    assert!(Schema::default().validate(&header("")).is_ok());
}
