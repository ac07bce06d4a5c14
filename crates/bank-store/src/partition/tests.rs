use super::*;

#[test]
fn accounts_stay_on_their_partitions() {
    let partitions = Partitions::default();
    assert_eq!((partitions.of_name("123"), partitions.of_name("alice")), (27, 231));
    assert!(Partitions::try_new(0).is_err() && Partitions::try_new(16_385).is_err());
}

#[test]
fn accounts_spread_evenly() {
    let partitions = Partitions::default();
    let mut counts = [0_u32; 256];
    for number in 0..256_000 {
        counts[partitions.of_name(&format!("account-{number}")) as usize] += 1;
    }
    assert!(counts.iter().all(|count| (800..1200).contains(count)), "{counts:?}");
}
