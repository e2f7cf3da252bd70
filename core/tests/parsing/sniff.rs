//! Naming what a file is instead.

use crate::support::{code, open};
use deathtensors_core::Code;
use deathtensors_core::sniff::{Other, sniff};

#[test]
fn formats_are_named() {
    let cases: [(&[u8], Other, &str); 14] = [
        (b"", Other::Empty, "empty"),
        (b"\x80\x02}q\x00(X\x01", Other::Pickle, "pickle"),
        (b"\x80\x05\x95abcdefgh", Other::Pickle, "pickle"),
        (b"PK\x03\x04aaaaaaaaaaa", Other::Zip, "zip"),
        (
            b"\x10\0\0\0\0\0\0\0{\"a\":{} ",
            Other::Safetensors,
            "safetensors",
        ),
        // A safetensors header of 640 bytes starts like a pickle.
        (
            b"\x80\x02\0\0\0\0\0\0{\"a\":{} ",
            Other::Safetensors,
            "safetensors",
        ),
        (
            b"version https://git-lfs.github.com/spec/v1\noid",
            Other::GitLfsPointer,
            "git lfs pull",
        ),
        (b"\n <!DOCTYPE html><html>", Other::Html, "HTML"),
        (b"<html lang=en>", Other::Html, "HTML"),
        (b"GGUF\x03\0\0\0\0\0\0\0", Other::Gguf, "GGUF"),
        (b"\x93NUMPY\x01\0\x76\0", Other::Npy, ".npy"),
        (b"\x89HDF\r\n\x1a\n", Other::Hdf5, "HDF5"),
        (b"\x1f\x8b\x08\0", Other::Gzip, "gzip"),
        (b"{\"weight_map\": {}}", Other::Json, "JSON"),
    ];
    for (head, other, word) in cases {
        assert_eq!(
            sniff(head),
            Some(other),
            "{:?}",
            head.escape_ascii().to_string()
        );
        let mut bytes = head.to_vec();
        let error = open(&bytes).unwrap_err();
        assert!(error.message().contains(word), "{error}");
        bytes.resize(100, b'.');
        if !head.is_empty() {
            assert_eq!(code(open(&bytes)), Code::PrefixMagic);
        }
    }
    assert_eq!(sniff(b"\x28\xb5\x2f\xfd\x04\x60"), Some(Other::Zstd));
    assert_eq!(sniff(b"DTLEGION\x01\0\0\0"), None);
    assert_eq!(sniff(b"something else entirely"), None);
}
