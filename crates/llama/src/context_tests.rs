use std::path::Path;

use super::*;
use crate::backend::Backend;
use crate::model::LoadOptions;

fn context(sequences: u32, batch_tokens: u32) -> Context {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/models/tiny-random-llama.gguf");
    let backend = Backend::init(Backend::print_and_exit);
    let model = Model::load(backend, &path, &LoadOptions::default(), |_| true).unwrap();
    let options = ContextOptions { context_tokens: 64, sequences, batch_tokens, threads: 1 };
    Context::new(Arc::new(model), options).unwrap()
}

fn decode(context: &mut Context, entries: &[(u32, u32, u32, bool)]) -> Result<Vec<Row>, DecodeError> {
    let mut batch = Batch::new(64);
    let rows = entries.iter().map(|&(sequence, at, token, wants)| batch.add(sequence, at, token, wants).unwrap());
    let rows = rows.collect();
    context.decode(&batch).map(|()| rows)
}

#[test]
fn a_released_sequence_leaves_no_keys_and_values_and_its_neighbour_keeps_its_own() {
    let mut context = context(3, 16);
    assert_eq!(context.wiping(), Wiping::AtRelease);
    let entries: Vec<_> = (0..3).flat_map(|s| (0..5).map(move |at| (s, at, 40 + at, false))).collect();
    decode(&mut context, &entries).unwrap();
    decode(&mut context, &[(1, 5, 77, true)]).unwrap();
    assert!((0..3).all(|sequence| context.traces(sequence) > 0));
    context.release(1);
    assert_eq!(context.traces(1), 0);
    assert!(context.traces(0) > 0 && context.traces(2) > 0);
    context.clear();
    assert_eq!((0..3).map(|sequence| context.traces(sequence)).sum::<usize>(), 0);
}

#[test]
fn a_sequence_used_again_and_again_never_leaves_rows() {
    let mut context = context(2, 16);
    for round in 0..8 {
        let length = 3 + round * 7 % 40;
        for at in 0..length {
            decode(&mut context, &[(0, at, at + round, false), (1, at, at + 9, true)]).unwrap();
        }
        context.release(0);
        assert_eq!(context.traces(0), 0, "round {round}");
        assert!(context.traces(1) > 0);
        context.release(1);
        assert_eq!(context.traces(1), 0, "round {round}");
    }
}

#[test]
fn wiping_the_scratch_changes_no_later_result() {
    let mut context = context(2, 16);
    let prompt = [(0, 0, 1, false), (0, 1, 200, false), (0, 2, 13, true)];
    let rows = decode(&mut context, &prompt).unwrap();
    let before = context.logits(rows[2]).unwrap().to_vec();
    context.release(0);
    context.clear_scratch();
    assert_eq!(context.traces(0), 0);
    let rows = decode(&mut context, &prompt).unwrap();
    assert_eq!(context.logits(rows[2]).unwrap(), before);
}

#[test]
fn only_wanted_rows_have_logits() {
    let mut context = context(2, 16);
    let rows = decode(&mut context, &[(0, 0, 1, false), (0, 1, 2, true), (1, 0, 5, true)]).unwrap();
    assert_eq!(context.logits(rows[0]), None);
    assert_eq!(context.logits(rows[1]).map(<[f32]>::len), Some(context._model.vocabulary().size() as usize));
    assert_ne!(context.logits(rows[1]), context.logits(rows[2]));
    assert_eq!(context.logits(Row(99)), None);
}

#[test]
fn what_llama_cpp_would_abort_on_is_refused_and_changes_nothing() {
    let mut context = context(2, 4);
    let refused = Err(DecodeError::Batch);
    assert_eq!(decode(&mut context, &[]), refused);
    assert_eq!(decode(&mut context, &[(2, 0, 1, true)]), refused);
    assert_eq!(decode(&mut context, &[(0, 0, 1_000_000, true)]), refused);
    assert_eq!(decode(&mut context, &[(0, 64, 1, true)]), refused);
    let five: Vec<_> = (0..5).map(|at| (0, at, 1, false)).collect();
    assert_eq!(decode(&mut context, &five), refused);
    let three_rows: Vec<_> = (0..3).map(|at| (0, at, 1, true)).collect();
    assert_eq!(decode(&mut context, &three_rows), refused);
    assert!(decode(&mut context, &[(0, 0, 1, true)]).is_ok());
}

#[test]
fn a_stop_signal_ends_decodes() {
    let mut context = context(1, 4);
    let signals = context.signals();
    let before = signals.steps();
    assert!(decode(&mut context, &[(0, 0, 1, true)]).is_ok());
    assert!(signals.steps() > before);
    signals.stop();
    assert_eq!(decode(&mut context, &[(0, 1, 1, true)]), Err(DecodeError::Stopped));
}

#[test]
fn sizes_that_cannot_be_are_refused() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/models/tiny-random-llama.gguf");
    let backend = Backend::init(Backend::print_and_exit);
    let model = Arc::new(Model::load(backend, &path, &LoadOptions::default(), |_| true).unwrap());
    let good = ContextOptions { context_tokens: 64, sequences: 2, batch_tokens: 8, threads: 1 };
    let refused = [
        ContextOptions { sequences: 0, ..good },
        ContextOptions { sequences: 100_000, ..good },
        ContextOptions { threads: 0, ..good },
        ContextOptions { threads: 513, ..good },
        ContextOptions { batch_tokens: 1, ..good },
        ContextOptions { context_tokens: 0, ..good },
        ContextOptions { context_tokens: u32::MAX, ..good },
        ContextOptions { context_tokens: 1 << 30, sequences: 200, batch_tokens: 200, ..good },
    ];
    for options in refused {
        assert!(matches!(Context::new(model.clone(), options), Err(ContextError::Size(_))), "{options:?}");
    }
    assert!(Context::new(model, good).is_ok());
}
