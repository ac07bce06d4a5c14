use std::collections::BTreeSet;

use bank_proto::FILE_DESCRIPTOR_SET;
use prost::Message as _;
use prost_types::FileDescriptorSet;

use super::*;

#[test]
fn every_method_of_the_api_has_its_rule_and_there_are_no_others() {
    let described = FileDescriptorSet::decode(FILE_DESCRIPTOR_SET).unwrap();
    let mut methods = BTreeSet::new();
    for file in &described.file {
        for service in &file.service {
            let name = format!("{}.{}", file.package(), service.name());
            assert_eq!(name, SERVICE_NAME, "a service that this test does not know");
            methods.extend(service.method.iter().map(|method| method.name().to_owned()));
        }
    }
    let ruled: BTreeSet<_> = Method::ALL.iter().map(|method| method.name().to_owned()).collect();
    assert_eq!(methods, ruled, "give the new method a line in the table above");
}

#[test]
fn methods_are_found_by_their_paths() {
    assert_eq!(Method::of_path("/bank.v1.BankService/Deposit"), Some(Method::Deposit));
    for path in
        ["", "/", "Deposit", "/bank.v1.BankService", "/bank.v1.BankService/", "/grpc.health.v1.Health/Check"]
    {
        assert_eq!(Method::of_path(path), None, "{path:?}");
    }
}

#[test]
fn all_accounts_are_for_the_scope_of_administration_only() {
    for method in Method::ALL {
        let Rule { scope, accounts } = method.rule();
        assert_eq!(scope == Some(Scope::Admin), accounts == Accounts::All, "{method:?}");
    }
}
