use super::*;

#[test]
fn transaction_ids_read_back_and_nothing_else_does() {
    for good in ["123/0-1", "a:b-c/1767225600000-18446744073709551615", "-/-1-2"] {
        assert_eq!(good.parse::<TransactionId>().unwrap().to_string(), good);
    }
    for bad in [
        "",
        "123",
        "123/",
        "123/1",
        "/1-1",
        "123/01-1",
        "123/1-+1",
        "123/1-1 ",
        "1/2/1-1",
        "123/999999999999999999-1",
    ] {
        assert_eq!(bad.parse::<TransactionId>(), Err(InvalidTransactionId), "{bad:?}");
    }
}
