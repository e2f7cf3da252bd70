use super::*;
use alloc::vec;
use proptest::prelude::*;

fn every(start: u64, count: u64, step: u64) -> Every {
    Every { start, count, step }
}

/// The bytes of all spans.
fn fetch(window: &Window, tensor: &[u8]) -> Vec<u8> {
    let parts = window.spans().iter();
    parts
        .flat_map(|s| &tensor[s.start as usize..s.end as usize])
        .copied()
        .collect()
}

fn request(rows: Every, columns: Every) -> WindowRequest<'static> {
    WindowRequest {
        axes: None,
        index: &[],
        rows,
        columns,
    }
}

#[test]
fn whole_rows_are_one_span() {
    let wanted = request(every(2, 5, 1), every(0, 8, 1));
    let window = Window::new(Dtype::F32, &[10, 8], &wanted).unwrap();
    assert_eq!(window.spans(), vec![64..224; 1]);
    let wanted = request(every(2, 3, 1), every(1, 4, 1));
    let window = Window::new(Dtype::F32, &[10, 8], &wanted).unwrap();
    assert_eq!(window.spans(), [68..84, 100..116, 132..148]);
}

#[test]
fn strided_columns() {
    // Short rows are read whole, long ones only where something is wanted.
    let wanted = request(every(0, 2, 500), every(3, 4, 200));
    let window = Window::new(Dtype::F32, &[1000, 1000], &wanted).unwrap();
    assert_eq!(window.spans().len(), 2);
    let wanted = request(every(0, 2, 1), every(3, 4, 250_000));
    let window = Window::new(Dtype::F32, &[2, 1_000_000], &wanted).unwrap();
    assert_eq!((window.spans().len(), window.nbytes()), (8, 32));
}

#[test]
fn rank_one_and_scalars() {
    let bytes: Vec<u8> = (0..9).collect();
    let window = Window::new(Dtype::U8, &[9], &request(every(0, 1, 1), every(1, 4, 2))).unwrap();
    assert_eq!((window.rows(), window.columns()), (1, 4));
    assert_eq!(
        window.values(&fetch(&window, &bytes)).unwrap(),
        [1.0, 3.0, 5.0, 7.0]
    );
    let window = Window::new(Dtype::U8, &[], &request(every(0, 1, 1), every(0, 1, 1))).unwrap();
    assert_eq!(window.values(&[7]).unwrap(), [7.0]);
}

#[test]
fn refused() {
    let code = |shape: &[u64], request: WindowRequest<'_>| {
        Window::new(Dtype::F32, shape, &request).unwrap_err().code()
    };
    let one = every(0, 1, 1);
    let odd = [
        request(every(10, 1, 1), one),
        request(one, every(u64::MAX, 2, u64::MAX)),
        request(every(0, 1, 0), one),
        request(every(0, u64::MAX, 1), one),
        WindowRequest {
            axes: Some((1, 1)),
            ..request(one, one)
        },
        WindowRequest {
            axes: Some((0, 2)),
            ..request(one, one)
        },
        WindowRequest {
            index: &[1],
            ..request(one, one)
        },
    ];
    for wanted in odd {
        assert_eq!(code(&[10, 8], wanted), Code::UsageRange, "{wanted:?}");
    }
    let wanted = WindowRequest {
        axes: Some((0, 2)),
        index: &[0, 5, 0],
        ..request(one, one)
    };
    assert_eq!(code(&[2, 5, 3], wanted), Code::UsageRange);
    let all = request(every(0, 1 << 20, 1), every(0, 1 << 10, 1));
    assert_eq!(code(&[1 << 20, 1 << 10], all), Code::UsageRange);
    let wide = request(every(0, 1, 1), every(0, 2, 1 << 40));
    assert!(Window::new(Dtype::F32, &[2, 1 << 50], &wide).is_ok());
    let window = Window::new(Dtype::F32, &[10, 8], &request(one, one)).unwrap();
    assert_eq!(
        window.values(&[0; 5]).unwrap_err().code(),
        Code::UsageDataSize
    );
}

#[test]
fn empty_windows() {
    let none = every(0, 0, 1);
    for shape in [&[0, 8][..], &[8, 0], &[4, 4]] {
        let window = Window::new(Dtype::F4, shape, &request(none, none)).unwrap();
        assert!(window.spans().is_empty());
        assert!(window.values(&[]).unwrap().is_empty());
    }
}

fn dims() -> impl Strategy<Value = Vec<u64>> {
    prop::collection::vec(1u64..7, 1..5)
}

proptest! {
    #[test]
    fn as_picking_from_the_whole(
        dtype in prop::sample::select(Dtype::ALL),
        mut shape in dims(),
        seed in prop::collection::vec(any::<u64>(), 16),
        wide in any::<bool>(),
    ) {
        // Sub-byte tensors have whole bytes; a wide last axis has long strides.
        if let Some(last) = shape.last_mut() {
            *last = if wide { 40_000 } else { 4 * *last };
        }
        let rank = shape.len();
        let nbytes = dtype.nbytes(&shape).unwrap() as usize;
        let bytes: Vec<u8> = (0..nbytes).map(|n| (n * 37 + (n >> 8) * 11) as u8).collect();
        let mut all = Vec::new();
        decode_f64(dtype, &bytes, &mut all);
        let down = seed[0] as usize % rank;
        let across = (down + 1 + seed[1] as usize % (rank - 1).max(1)) % rank;
        let length = |axis: usize| if rank == 1 && axis == 0 { 1 } else { shape[axis] };
        let part = |length: u64, a: u64, b: u64, c: u64| {
            let (start, step) = (a % length, 1 + b % length.min(3 + b % 7000));
            every(start, c % ((length - start).div_ceil(step).min(50) + 1), step)
        };
        let rows = part(if rank == 1 { 1 } else { length(down) }, seed[2], seed[3], seed[4]);
        let columns = part(shape[if rank == 1 { 0 } else { across }], seed[5], seed[6], seed[7]);
        let index: Vec<u64> = shape.iter().zip(&seed[8..]).map(|(dim, s)| s % dim).collect();
        let wanted = WindowRequest { axes: Some((down, across)), index: &index, rows, columns };
        let window = Window::new(dtype, &shape, &wanted).unwrap();
        for pair in window.spans().windows(2) {
            prop_assert!(pair[0].end < pair[1].start);
        }
        let mut expected = vec![];
        for r in 0..rows.count {
            for c in 0..columns.count {
                let mut at = index.clone();
                if rank == 1 {
                    at[0] = columns.start + c * columns.step;
                } else {
                    at[down] = rows.start + r * rows.step;
                    at[across] = columns.start + c * columns.step;
                }
                let place = at.iter().zip(&shape).fold(0, |sum, (at, dim)| sum * dim + at);
                expected.push(all[place as usize].to_bits());
            }
        }
        let found = window.values(&fetch(&window, &bytes)).unwrap();
        prop_assert_eq!(found.iter().map(|x| x.to_bits()).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn samples_are_whole_elements(
        dtype in prop::sample::select(Dtype::ALL),
        units in 0u64..100_000,
        most in 0u64..200_000,
    ) {
        let unit = dtype.unit().bytes;
        let nbytes = units * unit;
        let spans = sample(dtype, nbytes, most);
        let total: u64 = spans.iter().map(|s| s.end - s.start).sum();
        prop_assert!(total <= most.max(unit));
        prop_assert_eq!(total == nbytes, nbytes <= most.max(if units == 1 { unit } else { 0 }));
        for span in &spans {
            prop_assert!(span.start < span.end && span.end <= nbytes);
            prop_assert!(span.start % unit == 0 && span.end % unit == 0);
        }
        for pair in spans.windows(2) {
            prop_assert!(pair[0].end <= pair[1].start);
        }
    }
}

#[test]
fn samples_reach_both_ends() {
    let spans = sample(Dtype::Bf16, 1 << 40, 1 << 20);
    assert_eq!(spans.len(), 16);
    assert_eq!((spans[0].start, spans[15].end), (0, 1 << 40));
    assert_eq!(sample(Dtype::Bf16, 0, 1), []);
    assert_eq!(
        sample(Dtype::C128, u64::MAX / 16 * 16, u64::MAX - 99).len(),
        16
    );
}

#[test]
fn an_empty_axis_that_is_not_looked_at_leaves_nothing_to_see() {
    let window = |rows| {
        let request = WindowRequest {
            axes: Some((2, 0)),
            index: &[],
            rows: every(0, rows, 1),
            columns: every(0, 2, 1),
        };
        Window::new(Dtype::I64, &[2, 0, 3], &request)
    };
    assert_eq!(window(3).unwrap_err().code(), Code::UsageRange);
    assert_eq!(window(0).unwrap().spans(), []);
}
