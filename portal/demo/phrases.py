"""What customers of a shop's checkout write, by mood and language."""

PAGES = ("/cart", "/checkout/address", "/checkout/delivery", "/checkout/payment", "/checkout/done")

PHRASES: dict[str, dict[str, tuple[str, ...]]] = {
    "content": {
        "en": (
            "Quick and easy, thank you!",
            "The new checkout is great, I was done in under a minute.",
            "Love the one-page form. Everything just worked.",
            "Very smooth payment, will buy again.",
            "Nice and clear, even my dad managed it without calling me.",
            "Finally a shop that remembers my address. Perfect.",
            "Works well on my phone, good job.",
            "Excellent, delivery options are easy to understand.",
        ),
        "pl": (
            "Szybko i wygodnie, dziękuję!",
            "Nowy koszyk jest świetny, wszystko zajęło minutę.",
            "Bardzo przejrzysty formularz, polecam.",
            "Płatność BLIK działa znakomicie.",
            "Super, adres sam się podpowiedział.",
            "Zakupy poszły gładko, jestem zadowolona.",
            "Świetna zmiana, wreszcie czytelne koszty dostawy.",
            "Dobrze działa na telefonie, brawo.",
        ),
    },
    "wish": {
        "en": (
            "Good so far. Please add Apple Pay.",
            "Would be nice to split the payment between two cards.",
            "Could you remember which parcel locker I always use?",
            "I'd like to write a note for the courier.",
            "Please show the delivery date before I enter my address.",
        ),
        "pl": (
            "Fajnie, ale przydałaby się płatność odroczona.",
            "Proszę dodać możliwość wpisania uwag dla kuriera.",
            "Może warto zapamiętać wybrany paczkomat?",
            "Chciałbym widzieć termin dostawy już w koszyku.",
        ),
    },
    "unsure": {
        "en": (
            "Where do I enter the company number for the invoice?",
            "Is the voucher taken off before or after delivery?",
            "Can I change the delivery address after paying?",
        ),
        "pl": (
            "Gdzie wpisać NIP do faktury?",
            "Czy kupon nalicza się przed kosztami dostawy?",
            "Czy mogę zmienić adres po złożeniu zamówienia?",
        ),
    },
    "broken": {
        "en": (
            "Error when I click continue, three times in a row.",
            "The checkout is broken, it says something went wrong and my cart is empty.",
            "Payment failed with an error. I gave up.",
            "It crashed on the address page. Terrible.",
            "Keeps failing at the last step, very annoying.",
        ),
        "pl": (
            "Błąd po kliknięciu dalej, trzy razy z rzędu.",
            "Koszyk nie działa, wyskakuje błąd i wszystko znika.",
            "Płatność zakończyła się błędem, zrezygnowałam.",
            "Strona z adresem się wysypuje. Fatalnie.",
            "Ciągle wyskakuje błąd na ostatnim kroku, okropne.",
        ),
    },
    "slow": {
        "en": (
            "So slow today, every page takes ages.",
            "I waited forever for the payment page to load.",
            "Painfully slow, I almost left.",
        ),
        "pl": (
            "Strasznie wolno dzisiaj, każda strona ładuje się wieki.",
            "Bardzo długo czekałem na stronę płatności.",
            "Sklep muli, prawie zrezygnowałem.",
        ),
    },
    "angry": {
        "en": (
            "This new checkout is awful. Who thought this was a good idea?",
            "I hate it. Give me the old version back!",
            "Worst update ever, completely unusable.",
            "Absolutely terrible, I will shop somewhere else.",
            "Horrible. It lost my voucher and I had to type everything again.",
        ),
        "pl": (
            "Ten nowy koszyk jest okropny. Kto to wymyślił?",
            "Tragedia, oddajcie starą wersję!",
            "Najgorsza zmiana, nie da się z tego korzystać.",
            "Koszmar, więcej tu nie kupię.",
            "Beznadziejne, musiałam wszystko wpisywać od nowa.",
        ),
    },
}
