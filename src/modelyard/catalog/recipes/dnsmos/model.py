"""DNSMOS: how people would rate recorded speech, as the page of ``speechmos`` calls it."""

from modelyard_executor.adapters.sound import read_sound


class Model:
    """Recordings below 9 seconds are repeated by the package until they are long enough."""

    def predict(self, audio: bytes):
        from speechmos import dnsmos

        found = dnsmos.run(read_sound(audio, 16000, "inputs.audio", most=600.0).clip(-1, 1), sr=16000)
        return {
            "overall": float(found["ovrl_mos"]),
            "speech": float(found["sig_mos"]),
            "background": float(found["bak_mos"]),
            "p808": float(found["p808_mos"]),
        }
