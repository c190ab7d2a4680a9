"""Services that Windows' own service manager runs."""

from scenario_nssm import NssmScenario


class NativeScenario(NssmScenario):
    mode = "native"
