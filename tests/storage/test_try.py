import sys; sys.path.insert(0,'/work/main')
from tests.storage.test_s3 import *
from tests.storage.test_s3 import _environment
class TestNanio(StorageContract):
    server = staticmethod(lambda: "http://127.0.0.1:5622")
    @pytest.fixture
    def bench(self, bench): return bench
class TestLB(StorageContract):
    server = staticmethod(lambda: "http://127.0.0.1:5621")
    @pytest.fixture
    def bench(self, bench): return bench
del TestMoto, TestS3rver
