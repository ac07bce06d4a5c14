"""The original client's session, from Python.

    pip install -r requirements.txt
    python demo.py [localhost:50051]

The stubs are generated from proto/ as the program starts. Every call that changes something is
named with a request id, so that it can be repeated when its outcome is not known, and errors are
read from their details, not from their text.
"""

import sys
import time
import uuid
from pathlib import Path

import grpc
from google.rpc import error_details_pb2
from grpc_status import rpc_status

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "proto"))
protos, services = grpc.protos_and_services("bank/v1/bank_service.proto")
account_protos, money_protos = grpc.protos("bank/v1/account.proto"), grpc.protos("bank/v1/money.proto")

RETRYABLE = {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.UNKNOWN}
ATTEMPTS_MAX = 5


def dollars(amount):
    """Whole cents; never a float."""
    major, _, minor = amount.partition(".")
    return money_protos.Money(currency_code="USD", minor_units=int(major) * 100 + int(minor.ljust(2, "0")))


def call(method, request):
    """Calls, and repeats with the same request id while the outcome is not known."""
    if "request_id" in request.DESCRIPTOR.fields_by_name and not request.request_id:
        request.request_id = str(uuid.uuid4())
    for attempt in range(1, ATTEMPTS_MAX + 1):
        try:
            return method(request, timeout=5)
        except grpc.RpcError as error:
            if error.code() not in RETRYABLE or attempt == ATTEMPTS_MAX:
                raise
            time.sleep(0.05 * 2**attempt)


def error_info(error):
    """The stable reason of an error, and the values that it names."""
    status = rpc_status.from_call(error)
    for detail in status.details if status else []:
        info = error_details_pb2.ErrorInfo()
        if detail.Unpack(info):
            return info.reason, dict(info.metadata)
    return None, {}


def main():
    target = sys.argv[1] if len(sys.argv) > 1 else "localhost:50051"
    account_id = f"python-{uuid.uuid4()}"
    with grpc.insecure_channel(target) as channel:
        bank = services.BankServiceStub(channel)
        created = call(
            bank.CreateAccount,
            protos.CreateAccountRequest(
                account_id=account_id,
                account_type=account_protos.ACCOUNT_TYPE_SAVINGS,
                currency_code="USD",
            ),
        )
        print(created.message)
        deposit = protos.DepositRequest(account_id=account_id, amount=dollars("1000.00"))
        print(call(bank.Deposit, deposit).message)
        again = call(bank.Deposit, deposit)
        assert again.replayed, "the same request moves money once"
        print(call(bank.GetBalance, protos.GetBalanceRequest(account_id=account_id)).message)
        withdrawal = protos.WithdrawRequest(account_id=account_id, amount=dollars("500.00"))
        print(call(bank.Withdraw, withdrawal).message)
        interest = protos.CalculateInterestRequest(account_id=account_id, annual_interest_rate="2.5")
        print(call(bank.CalculateInterest, interest).message)
        try:
            call(bank.Withdraw, protos.WithdrawRequest(account_id=account_id, amount=dollars("1000.00")))
        except grpc.RpcError as error:
            reason, values = error_info(error)
            print(f"{error.code().name} {reason}: {values['available_minor_units']} cents are available")


if __name__ == "__main__":
    main()
