(** Derivatives in one and in many variables: the chain rule, and that sums, products and
    compositions of differentiable losses are differentiable. *)
From Coq Require Import Reals Lra Lia Arith Bool FunctionalExtensionality.
From Coquelicot Require Import Coquelicot.
From BNBlind Require Import Basics Sums.
Open Scope R_scope.

(** * One variable *)

Lemma is_derive_val (f : R -> R) (t l l' : R) : is_derive f t l -> l = l' -> is_derive f t l'.
Proof. intros Hf <-. exact Hf. Qed.

Lemma is_derive_const_R (c t : R) : is_derive (fun _ : R => c) t 0.
Proof. apply (is_derive_const (K := R_AbsRing) (V := R_NormedModule)). Qed.

Lemma is_derive_id_R (t : R) : is_derive (fun u : R => u) t 1.
Proof. apply (is_derive_id (K := R_AbsRing)). Qed.

Lemma is_derive_plus_R (f g : R -> R) t a b :
  is_derive f t a -> is_derive g t b -> is_derive (fun u => f u + g u) t (a + b).
Proof. intros. now apply (is_derive_plus (K := R_AbsRing) (V := R_NormedModule) f g). Qed.

Lemma is_derive_minus_R (f g : R -> R) t a b :
  is_derive f t a -> is_derive g t b -> is_derive (fun u => f u - g u) t (a - b).
Proof. intros. now apply (is_derive_minus (K := R_AbsRing) (V := R_NormedModule) f g). Qed.

Lemma is_derive_fsum n (f : nat -> R -> R) (t : R) (l : nat -> R) :
  (forall i, (i < n)%nat -> is_derive (f i) t (l i)) ->
  is_derive (fun u => fsum n (fun i => f i u)) t (fsum n l).
Proof.
  induction n as [|n IH]; intros E; simpl.
  - apply is_derive_const_R.
  - apply (is_derive_plus_R (fun u => fsum n (fun i => f i u)) (f n)); auto with arith.
Qed.

(** A derivative without the quotient. *)
Lemma is_derive_bound f t l : is_derive f t l ->
  forall e, 0 < e -> exists r, 0 < r /\ forall h, Rabs h < r ->
    Rabs (f (t + h) - f t - l * h) <= e * Rabs h.
Proof.
  intros Hf e He. apply is_derive_Reals in Hf. destruct (Hf e He) as [r Hr].
  exists r. split; [apply cond_pos|]. intros h Hh.
  destruct (Req_dec h 0) as [->|H0].
  - rewrite Rplus_0_r. replace (f t - f t - l * 0) with 0 by ring. rewrite Rabs_R0. lra.
  - specialize (Hr h H0 Hh).
    replace (f (t + h) - f t - l * h) with (((f (t + h) - f t) / h - l) * h) by (field; auto).
    rewrite Rabs_mult. apply Rmult_le_compat_r; [apply Rabs_pos | lra].
Qed.

Lemma bound_is_derive f t l :
  (forall e, 0 < e -> exists r, 0 < r /\ forall h, Rabs h < r ->
    Rabs (f (t + h) - f t - l * h) <= e * Rabs h) -> is_derive f t l.
Proof.
  intros Hf. apply is_derive_Reals. intros e He.
  destruct (Hf (e / 2)) as [r [Hr B]]; [lra|]. exists (mkposreal r Hr). simpl.
  intros h H0 Hh. specialize (B h Hh).
  replace ((f (t + h) - f t) / h - l) with ((f (t + h) - f t - l * h) / h) by (field; auto).
  unfold Rdiv. rewrite Rabs_mult, Rabs_inv.
  assert (P := Rabs_pos_lt h H0).
  apply Rle_lt_trans with (e / 2); [|lra].
  apply (Rmult_le_reg_r (Rabs h)); [assumption|].
  rewrite Rmult_assoc, Rinv_l by lra. lra.
Qed.

(** * One radius for finitely many conditions *)

Lemma finite_radius n (P : nat -> R -> Prop) :
  (forall i r r', P i r -> r' <= r -> P i r') ->
  (forall i, (i < n)%nat -> exists r, 0 < r /\ P i r) ->
  exists r, 0 < r /\ forall i, (i < n)%nat -> P i r.
Proof.
  intros M. induction n as [|n IH]; intros E.
  - exists 1. split; [lra | lia].
  - destruct IH as [r [Hr Pr]]; [auto with arith|].
    destruct (E n) as [s [Hs Ps]]; [auto with arith|].
    exists (Rmin r s). split; [now apply Rmin_pos|].
    intros i Hi. destruct (Nat.eq_dec i n) as [->|Hn].
    + apply (M n s); [assumption | apply Rmin_r].
    + apply (M i r); [apply Pr; lia | apply Rmin_l].
Qed.

Lemma finite_radius2 n D (P : nat -> nat -> R -> Prop) :
  (forall i d r r', P i d r -> r' <= r -> P i d r') ->
  (forall i d, (i < n)%nat -> (d < D)%nat -> exists r, 0 < r /\ P i d r) ->
  exists r, 0 < r /\ forall i d, (i < n)%nat -> (d < D)%nat -> P i d r.
Proof.
  intros M E.
  destruct (finite_radius n (fun i r => forall d, (d < D)%nat -> P i d r)) as [r [Hr Pr]].
  - intros i r r' A Hr d Hd. apply (M i d r); auto.
  - intros i Hi. apply (finite_radius D (P i)); [intros d; apply M | auto].
  - exists r. split; [assumption | auto].
Qed.

(** * The chain rule *)

Lemma chain_rule n D L (c : R -> batch) t (G J : batch) :
  differentiable n D L (c t) G ->
  (forall i d, (i < n)%nat -> (d < D)%nat -> is_derive (fun u => c u i d) t (J i d)) ->
  is_derive (fun u => L (c u)) t (\sum_(i < n) \sum_(d < D) G i d * J i d).
Proof.
  intros HL HJ.
  set (S2 := fun f : batch => fsum n (fun i => fsum D (fun d => f i d))).
  set (lin := fun u => S2 (fun i d => G i d * (c u i d - c t i d))).
  set (rem := fun u => L (c u) - L (c t) - lin u).
  assert (Dlin : is_derive lin t (S2 (fun i d => G i d * J i d))).
  { apply (is_derive_fsum n (fun i u => fsum D (fun d => G i d * (c u i d - c t i d))));
      intros i Hi.
    apply (is_derive_fsum D (fun d u => G i d * (c u i d - c t i d))); intros d Hd.
    apply is_derive_scal.
    apply (is_derive_val _ _ (minus (J i d) zero));
      [|unfold minus, plus, opp, zero; simpl; ring].
    apply (is_derive_minus (K := R_AbsRing) (V := R_NormedModule)
             (fun u => c u i d) (fun _ => c t i d)); [now apply HJ|].
    apply (is_derive_const (K := R_AbsRing) (V := R_NormedModule)). }
  assert (lin0 : lin t = 0).
  { apply fsum_zero; intros i _; apply fsum_zero; intros d _. ring. }
  assert (Drem : is_derive rem t 0).
  { apply bound_is_derive. intros e He.
    set (M := S2 (fun i d => Rabs (J i d) + 1)).
    assert (HM : 0 <= M).
    { apply fsum_nonneg; intros i _; apply fsum_nonneg; intros d _.
      assert (A := Rabs_pos (J i d)). lra. }
    destruct (HL (e / (M + 1))) as [r [Hr B]].
    { apply Rdiv_lt_0_compat; lra. }
    destruct (finite_radius2 n D (fun i d s => forall h, Rabs h < s ->
        Rabs (c (t + h) i d - c t i d) <= (Rabs (J i d) + 1) * Rabs h
        /\ Rabs (c (t + h) i d - c t i d) < r)) as [s [Hs C]].
    { intros i d s s' P Hs h Hh. apply P. lra. }
    { intros i d Hi Hd.
      destruct (is_derive_bound _ _ _ (HJ i d Hi Hd) 1 Rlt_0_1) as [s [Hs P]].
      assert (A := Rabs_pos (J i d)).
      assert (Hq : 0 < r / (Rabs (J i d) + 1)) by (apply Rdiv_lt_0_compat; lra).
      exists (Rmin s (r / (Rabs (J i d) + 1))). split; [now apply Rmin_pos|].
      intros h Hh.
      assert (H1 : Rabs h < s) by (eapply Rlt_le_trans; [apply Hh | apply Rmin_l]).
      assert (H2 : Rabs h < r / (Rabs (J i d) + 1))
        by (eapply Rlt_le_trans; [apply Hh | apply Rmin_r]).
      specialize (P h H1).
      assert (Q : Rabs (c (t + h) i d - c t i d) <= (Rabs (J i d) + 1) * Rabs h).
      { replace (c (t + h) i d - c t i d)
          with ((c (t + h) i d - c t i d - J i d * h) + J i d * h) by ring.
        eapply Rle_trans; [apply Rabs_triang|]. rewrite Rabs_mult. lra. }
      split; [exact Q|].
      apply Rle_lt_trans with (1 := Q).
      apply (Rmult_lt_compat_l (Rabs (J i d) + 1)) in H2; [|lra].
      replace ((Rabs (J i d) + 1) * (r / (Rabs (J i d) + 1))) with r in H2 by (field; lra).
      exact H2. }
    exists s. split; [assumption|]. intros h Hh.
    assert (rem0 : rem t = 0) by (unfold rem; rewrite lin0; ring).
    rewrite rem0, Rmult_0_l, !Rminus_0_r.
    unfold rem, lin, S2.
    eapply Rle_trans; [apply B; intros i d Hi Hd; now apply C|].
    apply Rle_trans with (e / (M + 1) * (M * Rabs h)).
    - apply Rmult_le_compat_l; [apply Rlt_le, Rdiv_lt_0_compat; lra|].
      unfold M, S2. rewrite <- fsum_scal_r. apply fsum_le; intros i Hi.
      rewrite <- fsum_scal_r. apply fsum_le; intros d Hd. now apply C.
    - replace (e / (M + 1) * (M * Rabs h)) with (e * Rabs h * (M / (M + 1)))
        by (field; lra).
      rewrite <- (Rmult_1_r (e * Rabs h)) at 2.
      apply Rmult_le_compat_l.
      + apply Rmult_le_pos; [lra | apply Rabs_pos].
      + apply (Rmult_le_reg_r (M + 1)); [lra|].
        unfold Rdiv. rewrite Rmult_assoc, Rinv_l by lra. lra. }
  apply (is_derive_ext (fun u => plus (plus (L (c t)) (lin u)) (rem u))).
  { intros u. unfold rem, plus; simpl. ring. }
  apply (is_derive_val _ _ (plus (plus zero (S2 (fun i d => G i d * J i d))) 0)).
  - apply (is_derive_plus (K := R_AbsRing) (V := R_NormedModule)
             (fun u => plus (L (c t)) (lin u)) rem); [|exact Drem].
    apply (is_derive_plus (K := R_AbsRing) (V := R_NormedModule) (fun _ => L (c t)) lin);
      [|exact Dlin].
    apply (is_derive_const (K := R_AbsRing) (V := R_NormedModule)).
  - unfold plus, zero, S2; simpl. ring.
Qed.

(** * Partial derivatives *)

Lemma upd_id x j k : upd x j k (x j k) = x.
Proof.
  apply functional_extensionality; intros i. apply functional_extensionality; intros d.
  unfold upd. destruct (Nat.eqb_spec i j), (Nat.eqb_spec d k); simpl; subst; auto.
Qed.

Lemma upd_other x j k t i d : d <> k -> upd x j k t i d = x i d.
Proof.
  intros Hd. unfold upd. apply Nat.eqb_neq in Hd. rewrite Hd, andb_false_r. reflexivity.
Qed.

Lemma partial_val F x j k v v' : is_partial F x j k v -> v = v' -> is_partial F x j k v'.
Proof. intros HF <-. exact HF. Qed.

Lemma partial_ext F F' x j k v :
  (forall z, F z = F' z) -> is_partial F x j k v -> is_partial F' x j k v.
Proof. intros E. apply is_derive_ext. intros t. apply E. Qed.

Lemma partial_const c x j k : is_partial (fun _ => c) x j k 0.
Proof. exact (is_derive_const_R c (x j k)). Qed.

(** A loss of features that are functions of the batch. *)
Lemma partial_of_loss n D L (F : batch -> batch) x j k G J :
  differentiable n D L (F x) G ->
  (forall i d, (i < n)%nat -> (d < D)%nat -> is_partial (fun z => F z i d) x j k (J i d)) ->
  is_partial (fun z => L (F z)) x j k (\sum_(i < n) \sum_(d < D) G i d * J i d).
Proof.
  intros HL HJ. apply (chain_rule n D L (fun t => F (upd x j k t))).
  - cbv beta. now rewrite upd_id.
  - exact HJ.
Qed.

(** * Differentiable losses *)

(** [differentiable] reads [G] at the batch's entries only. *)
Lemma differentiable_val n D L Y G G' :
  (forall i d, (i < n)%nat -> (d < D)%nat -> G i d = G' i d) ->
  differentiable n D L Y G -> differentiable n D L Y G'.
Proof.
  intros E HL e He. destruct (HL e He) as [r [Hr B]]. exists r. split; [assumption|].
  intros Z HZ. rewrite <- (fsum_ext n (fun i => \sum_(d < D) G i d * (Z i d - Y i d))).
  - now apply B.
  - intros i Hi. apply fsum_ext; intros d Hd. now rewrite E.
Qed.

Lemma differentiable_ext n D L L' Y G :
  (forall y, L y = L' y) -> differentiable n D L Y G -> differentiable n D L' Y G.
Proof.
  intros E HL e He. destruct (HL e He) as [r [Hr B]]. exists r. split; [assumption|].
  intros Z HZ. rewrite <- !E. now apply B.
Qed.

Section Differentiable.
Variables (n D : nat) (Y : batch).

Let dot (G h : batch) : R := \sum_(i < n) \sum_(d < D) G i d * h i d.
Let size (h : batch) : R := \sum_(i < n) \sum_(d < D) Rabs (h i d).

Lemma size_nonneg h : 0 <= size h.
Proof. apply fsum_nonneg; intros; apply fsum_nonneg; intros; apply Rabs_pos. Qed.

Lemma entry_le_size h i d : (i < n)%nat -> (d < D)%nat -> Rabs (h i d) <= size h.
Proof.
  intros Hi Hd. apply Rle_trans with (\sum_(d < D) Rabs (h i d)).
  - apply (fsum_term D (fun d => Rabs (h i d))); [intros; apply Rabs_pos | assumption].
  - apply (fsum_term n (fun i => \sum_(d < D) Rabs (h i d))); [|assumption].
    intros; apply fsum_nonneg; intros; apply Rabs_pos.
Qed.

Lemma dot_bound G h : Rabs (dot G h) <= size G * size h.
Proof.
  unfold dot. eapply Rle_trans; [apply Rabs_fsum|]. unfold size at 2.
  rewrite <- fsum_scal. apply fsum_le; intros i Hi.
  eapply Rle_trans; [apply Rabs_fsum|].
  rewrite <- fsum_scal. apply fsum_le; intros d Hd. rewrite Rabs_mult.
  apply Rmult_le_compat_r; [apply Rabs_pos | now apply entry_le_size].
Qed.

Lemma size_small h r : 0 <= r ->
  (forall i d, (i < n)%nat -> (d < D)%nat -> Rabs (h i d) < r) ->
  size h <= INR n * (INR D * r).
Proof.
  intros Hr E. unfold size. rewrite <- (fsum_const n). apply fsum_le; intros i Hi.
  rewrite <- (fsum_const D). apply fsum_le; intros d Hd. apply Rlt_le. auto.
Qed.

Lemma differentiable_const c : differentiable n D (fun _ => c) Y (fun _ _ => 0).
Proof.
  intros e He. exists 1. split; [lra|]. intros Z _.
  rewrite (fsum_zero n); [|intros i _; apply fsum_zero; intros d _; ring].
  rewrite !Rminus_diag_eq, Rabs_R0 by ring.
  apply Rmult_le_pos; [lra | apply (size_nonneg (fun i d => Z i d - Y i d))].
Qed.

Lemma differentiable_entry i d : (i < n)%nat -> (d < D)%nat ->
  differentiable n D (fun y => y i d) Y (fun i' d' => delta i' i * delta d' d).
Proof.
  intros Hi Hd e He. exists 1. split; [lra|]. intros Z _.
  rewrite (fsum_single n i); [|assumption|].
  - rewrite (fsum_single D d); [|assumption|].
    + rewrite !delta_eq, Rminus_diag_eq, Rabs_R0 by ring.
      apply Rmult_le_pos; [lra | apply (size_nonneg (fun i d => Z i d - Y i d))].
    + intros d' _ Nd. rewrite (delta_neq d') by assumption. ring.
  - intros i' _ Ni. apply fsum_zero; intros d' _. rewrite delta_neq by assumption. ring.
Qed.

Lemma differentiable_plus L1 L2 G1 G2 :
  differentiable n D L1 Y G1 -> differentiable n D L2 Y G2 ->
  differentiable n D (fun y => L1 y + L2 y) Y (fun i d => G1 i d + G2 i d).
Proof.
  intros H1 H2 e He.
  destruct (H1 (e / 2)) as [r1 [P1 B1]]; [lra|]. destruct (H2 (e / 2)) as [r2 [P2 B2]]; [lra|].
  exists (Rmin r1 r2). split; [now apply Rmin_pos|]. intros Z HZ.
  assert (A1 : forall i d, (i < n)%nat -> (d < D)%nat -> Rabs (Z i d - Y i d) < r1)
    by (intros i d Hi Hd; eapply Rlt_le_trans; [now apply HZ | apply Rmin_l]).
  assert (A2 : forall i d, (i < n)%nat -> (d < D)%nat -> Rabs (Z i d - Y i d) < r2)
    by (intros i d Hi Hd; eapply Rlt_le_trans; [now apply HZ | apply Rmin_r]).
  specialize (B1 Z A1). specialize (B2 Z A2).
  replace (L1 Z + L2 Z - (L1 Y + L2 Y)
           - \sum_(i < n) \sum_(d < D) (G1 i d + G2 i d) * (Z i d - Y i d))
    with ((L1 Z - L1 Y - \sum_(i < n) \sum_(d < D) G1 i d * (Z i d - Y i d))
          + (L2 Z - L2 Y - \sum_(i < n) \sum_(d < D) G2 i d * (Z i d - Y i d))).
  - eapply Rle_trans; [apply Rabs_triang | lra].
  - rewrite (fsum_ext n (fun i => \sum_(d < D) (G1 i d + G2 i d) * (Z i d - Y i d))
      (fun i => (\sum_(d < D) G1 i d * (Z i d - Y i d))
                + \sum_(d < D) G2 i d * (Z i d - Y i d))).
    + rewrite fsum_plus. ring.
    + intros i _. rewrite <- fsum_plus. apply fsum_ext; intros d _. ring.
Qed.

Lemma differentiable_fsum m (L : nat -> batch -> R) (G : nat -> batch) :
  (forall a, (a < m)%nat -> differentiable n D (L a) Y (G a)) ->
  differentiable n D (fun y => \sum_(a < m) L a y) Y (fun i d => \sum_(a < m) G a i d).
Proof.
  induction m as [|m IH]; intros E; simpl.
  - apply differentiable_const.
  - apply (differentiable_plus (fun y => \sum_(a < m) L a y) (L m)
      (fun i d => \sum_(a < m) G a i d) (G m)); auto with arith.
Qed.

(** A function of one variable of a loss. *)
Lemma differentiable_comp (phi : R -> R) L G l :
  is_derive phi (L Y) l -> differentiable n D L Y G ->
  differentiable n D (fun y => phi (L y)) Y (fun i d => l * G i d).
Proof.
  intros Hphi HL e He.
  assert (PG := size_nonneg G). assert (Pl := Rabs_pos l).
  set (M := size G + 1).
  destruct (is_derive_bound _ _ _ Hphi (e / (2 * M))) as [s [Hs Bphi]].
  { apply Rdiv_lt_0_compat; unfold M; lra. }
  destruct (HL 1) as [r1 [Hr1 B1]]; [lra|].
  destruct (HL (e / (2 * (Rabs l + 1)))) as [r2 [Hr2 B2]].
  { apply Rdiv_lt_0_compat; lra. }
  set (q := INR n * INR D + 1).
  assert (Hq : 0 < q).
  { assert (A := pos_INR n). assert (B := pos_INR D). assert (C := Rmult_le_pos _ _ A B).
    unfold q. lra. }
  set (r3 := s / (M * q)).
  assert (Hr3 : 0 < r3)
    by (apply Rdiv_lt_0_compat; [assumption | apply Rmult_lt_0_compat; unfold M; lra]).
  exists (Rmin (Rmin r1 r2) r3). split; [apply Rmin_pos; [now apply Rmin_pos | assumption]|].
  intros Z HZ. set (h := fun i d => Z i d - Y i d).
  assert (S0 := size_nonneg h).
  assert (C1 : Rabs (L Z - L Y - dot G h) <= 1 * size h).
  { apply B1. intros i d Hi Hd. eapply Rlt_le_trans; [now apply HZ|].
    eapply Rle_trans; apply Rmin_l. }
  assert (C2 : Rabs (L Z - L Y - dot G h) <= e / (2 * (Rabs l + 1)) * size h).
  { apply B2. intros i d Hi Hd. eapply Rlt_le_trans; [now apply HZ|].
    eapply Rle_trans; [apply Rmin_l | apply Rmin_r]. }
  assert (C3 : size h <= INR n * (INR D * r3)).
  { apply size_small; [lra|]. intros i d Hi Hd.
    eapply Rlt_le_trans; [now apply HZ | apply Rmin_r]. }
  (* the step of L *)
  assert (C4 : Rabs (L Z - L Y) <= M * size h).
  { replace (L Z - L Y) with ((L Z - L Y - dot G h) + dot G h) by ring.
    eapply Rle_trans; [apply Rabs_triang|]. assert (A := dot_bound G h). unfold M. lra. }
  assert (C5 : Rabs (L Z - L Y) < s).
  { apply Rle_lt_trans with (1 := C4).
    apply Rle_lt_trans with (M * (INR n * (INR D * r3))).
    - apply Rmult_le_compat_l; [unfold M; lra | assumption].
    - replace s with (M * (q * r3)) by (unfold r3; field; unfold M; lra).
      apply Rmult_lt_compat_l; [unfold M; lra|]. unfold q. lra. }
  specialize (Bphi _ C5). rewrite Rplus_minus in Bphi.
  replace (phi (L Z) - phi (L Y) - \sum_(i < n) \sum_(d < D) l * G i d * (Z i d - Y i d))
    with ((phi (L Z) - phi (L Y) - l * (L Z - L Y)) + l * (L Z - L Y - dot G h)).
  - eapply Rle_trans; [apply Rabs_triang|]. rewrite Rabs_mult.
    apply Rle_trans with (e / (2 * M) * (M * size h)
                          + Rabs l * (e / (2 * (Rabs l + 1)) * size h)).
    + apply Rplus_le_compat.
      * apply Rle_trans with (1 := Bphi). apply Rmult_le_compat_l; [|assumption].
        apply Rlt_le, Rdiv_lt_0_compat; unfold M; lra.
      * apply Rmult_le_compat_l; assumption.
    + fold (size h). change (\sum_(i < n) \sum_(d < D) Rabs (Z i d - Y i d)) with (size h).
      replace (e / (2 * M) * (M * size h)) with (e * size h * / 2) by (field; unfold M; lra).
      replace (Rabs l * (e / (2 * (Rabs l + 1)) * size h))
        with (e * size h * (Rabs l / (Rabs l + 1) / 2)) by (field; lra).
      assert (Hle : Rabs l / (Rabs l + 1) <= 1).
      { apply (Rmult_le_reg_r (Rabs l + 1)); [lra|].
        unfold Rdiv. rewrite Rmult_assoc, Rinv_l by lra. lra. }
      assert (Hes : 0 <= e * size h) by (apply Rmult_le_pos; lra).
      assert (A := Rmult_le_compat_l _ _ _ Hes Hle). lra.
  - unfold dot, h. rewrite (fsum_ext n (fun i => \sum_(d < D) l * G i d * (Z i d - Y i d))
      (fun i => l * \sum_(d < D) G i d * (Z i d - Y i d))).
    + rewrite fsum_scal. ring.
    + intros i _. rewrite <- fsum_scal. apply fsum_ext; intros d _. ring.
Qed.

Lemma differentiable_scal c L G :
  differentiable n D L Y G -> differentiable n D (fun y => c * L y) Y (fun i d => c * G i d).
Proof.
  apply (differentiable_comp (fun u => c * u)).
  apply (is_derive_val _ _ (c * 1)); [|ring]. apply is_derive_scal, is_derive_id_R.
Qed.

Lemma differentiable_minus_const c L G :
  differentiable n D L Y G -> differentiable n D (fun y => L y - c) Y G.
Proof.
  intros HL. apply (differentiable_val n D _ Y (fun i d => 1 * G i d)); [intros; ring|].
  apply (differentiable_comp (fun u => u - c)); [|assumption].
  apply (is_derive_val _ _ (1 - 0)); [|ring].
  apply is_derive_minus_R; [apply is_derive_id_R | apply is_derive_const_R].
Qed.

Lemma differentiable_square L G :
  differentiable n D L Y G ->
  differentiable n D (fun y => L y ^ 2) Y (fun i d => 2 * L Y * G i d).
Proof.
  apply (differentiable_comp (fun u => u ^ 2)).
  apply (is_derive_val _ _ (INR 2 * 1 * L Y ^ Nat.pred 2)); [|simpl; ring].
  apply is_derive_pow, is_derive_id_R.
Qed.

(** By polarization. *)
Lemma differentiable_mult L1 L2 G1 G2 :
  differentiable n D L1 Y G1 -> differentiable n D L2 Y G2 ->
  differentiable n D (fun y => L1 y * L2 y) Y (fun i d => L2 Y * G1 i d + L1 Y * G2 i d).
Proof.
  intros H1 H2.
  apply (differentiable_ext n D
    (fun y => / 2 * (L1 y + L2 y) ^ 2 + (- / 2 * L1 y ^ 2 + - / 2 * L2 y ^ 2))).
  { intros y. field. }
  eapply differentiable_val; [|apply differentiable_plus;
    [apply differentiable_scal, differentiable_square, differentiable_plus; eassumption|
     apply differentiable_plus; apply differentiable_scal, differentiable_square; eassumption]].
  intros i d _ _. cbv beta. field.
Qed.

End Differentiable.
