//! The index of a model in several files: ours, a header, or that of safetensors, JSON.

use crate::{limits, same};
use deathtensors_core::shards::{Shard, ShardIndex};
use deathtensors_core::{Header, Limits, TensorSpec, WriteOptions, WritePlan};
use std::collections::BTreeMap;

/// See the table in the crate's documentation.
pub fn check(data: &[u8]) {
    match ShardIndex::parse_safetensors_index(data, &limits()) {
        Ok(index) => {
            if let Some(other) = same::second_opinion(data) {
                check_map(&index, &other);
            }
            check_index(&index, &BTreeMap::new());
        }
        Err(error) => same::printable(&error),
    }
    let Ok(header) = Header::parse(data, &limits()) else {
        return;
    };
    match ShardIndex::parse(&header, &limits()) {
        Ok(index) => {
            assert!(ShardIndex::is_index(&header));
            let user = ShardIndex::user_metadata(&header);
            check_index(&index, &user.map(|(k, v)| (k.into(), v.into())).collect());
            for nth in 0..index.shards.len() {
                if let Err(error) = index.check_shard(nth, &header) {
                    same::printable(&error);
                }
            }
        }
        Err(error) => same::printable(&error),
    }
}

/// A second parser's opinion.
fn check_map(index: &ShardIndex, other: &serde_json::Value) {
    let map = other["weight_map"].as_object().expect("an object");
    assert_eq!(map.len(), index.len());
    for (name, path) in map {
        let nth = index.find(name).expect("every name");
        assert_eq!(index.shards[nth].path, path.as_str().expect("a string"));
    }
}

fn check_index(index: &ShardIndex, user: &BTreeMap<String, String>) {
    for Shard { path, .. } in &index.shards {
        let plain = !path.contains(['/', '\\', '\0']) && path != "." && path != "..";
        assert!(plain, "{path:?}");
        assert!(
            std::path::Path::new(path)
                .file_name()
                .is_some_and(|n| n == path.as_str())
        );
    }
    let made = ShardIndex::new(index.shards.clone()).expect("an index of the same shards");
    let metadata = made.metadata(user);
    let none: &[TensorSpec] = &[];
    let plan = WritePlan::new(none, &metadata, &WriteOptions::default(), &Limits::DEFAULT);
    let Ok(plan) = plan else {
        // Metadata is limited; a list of shards is a part of it.
        return;
    };
    let header = Header::parse(plan.header().to_json().as_bytes(), &Limits::DEFAULT);
    let header = header.expect("what was planned is parsed");
    let again = ShardIndex::parse(&header, &Limits::DEFAULT).expect("what was emitted is parsed");
    assert_eq!(again.shards, index.shards);
    assert!(again.names().eq(index.names()));
    let kept: BTreeMap<_, _> = ShardIndex::user_metadata(&header)
        .map(|(k, v)| (k.to_string(), v.to_string()))
        .collect();
    assert_eq!(&kept, user);
}
