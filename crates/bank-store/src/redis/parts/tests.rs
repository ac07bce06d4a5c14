use super::*;

fn part(partition: u32, places: &[usize]) -> Part<'static> {
    Part { scope: Scope::Partition(partition), partition, places: places.to_vec(), proposals: Vec::new() }
}

type PartResult = Result<Committed, StoreError>;

fn done(outcomes: &[Outcome]) -> Committed {
    Committed { outcomes: outcomes.to_vec(), ..Committed::default() }
}

#[test]
fn outcomes_are_in_the_order_of_the_proposals() {
    use Outcome::{Applied, Conflict, RequestIdReused};
    let parts = vec![
        (part(7, &[1, 3]), Ok(done(&[Conflict, Applied]))),
        (part(9, &[0, 2]), Ok(done(&[Applied, RequestIdReused]))),
    ];
    let outcomes = combine(parts).unwrap().outcomes;
    assert_eq!(outcomes, [Applied, Conflict, RequestIdReused, Applied]);
}

/// A caller that is told `Unavailable` may believe that nothing was done.
#[test]
fn a_commit_that_may_be_carried_out_in_part_is_unknown() {
    let unavailable = || PartResult::Err(StoreError::Unavailable("down".to_owned()));
    let unknown = || PartResult::Err(StoreError::OutcomeUnknown("lost".to_owned()));
    let done = || PartResult::Ok(done(&[]));
    for (results, is_unknown) in [
        (vec![unavailable()], false),
        (vec![unavailable(), unavailable()], false),
        (vec![unknown()], true),
        (vec![done(), unavailable()], true),
        (vec![unavailable(), done()], true),
        (vec![unavailable(), unknown()], true),
        (vec![done(), unknown()], true),
    ] {
        let case = format!("{results:?}");
        let parts = (0..).zip(results).map(|(partition, result)| (part(partition, &[]), result));
        assert_eq!(combine(parts.collect()).unwrap_err().is_outcome_unknown(), is_unknown, "{case}");
    }
}
