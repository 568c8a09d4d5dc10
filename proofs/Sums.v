(** Finite sums, with what batch normalization needs. *)
From Coq Require Import Reals Lra Lia Arith.
From Coquelicot Require Import Coquelicot.
From BNBlind Require Import Basics.
Open Scope R_scope.

(** The same sum in Coquelicot's (inclusive) notation. *)
Lemma fsum_sum_n n f : fsum (S n) f = sum_n f n.
Proof.
  induction n as [|n IH].
  - rewrite sum_O. simpl. ring.
  - rewrite sum_Sn, <- IH. reflexivity.
Qed.

Lemma fsum_ext n f g :
  (forall i, (i < n)%nat -> f i = g i) -> fsum n f = fsum n g.
Proof.
  induction n as [|n IH]; intros E; simpl; auto.
  rewrite IH, (E n); auto with arith.
Qed.

Lemma fsum_plus n f g : fsum n (fun i => f i + g i) = fsum n f + fsum n g.
Proof. induction n as [|n IH]; simpl; [ring | rewrite IH; ring]. Qed.

Lemma fsum_minus n f g : fsum n (fun i => f i - g i) = fsum n f - fsum n g.
Proof. induction n as [|n IH]; simpl; [ring | rewrite IH; ring]. Qed.

Lemma fsum_scal n c f : fsum n (fun i => c * f i) = c * fsum n f.
Proof. induction n as [|n IH]; simpl; [ring | rewrite IH; ring]. Qed.

Lemma fsum_scal_r n c f : fsum n (fun i => f i * c) = fsum n f * c.
Proof. induction n as [|n IH]; simpl; [ring | rewrite IH; ring]. Qed.

Lemma fsum_const n c : fsum n (fun _ => c) = INR n * c.
Proof. induction n as [|n IH]; [simpl; ring | cbn [fsum]; rewrite S_INR, IH; ring]. Qed.

Lemma fsum_zero n f : (forall i, (i < n)%nat -> f i = 0) -> fsum n f = 0.
Proof.
  intros E. rewrite (fsum_ext _ _ (fun _ => 0) E), fsum_const. ring.
Qed.

Lemma fsum_swap n m f :
  fsum n (fun i => fsum m (fun d => f i d)) = fsum m (fun d => fsum n (fun i => f i d)).
Proof.
  induction n as [|n IH]; simpl.
  - symmetry; apply fsum_zero; auto.
  - rewrite IH, <- fsum_plus. reflexivity.
Qed.

Lemma delta_eq i : delta i i = 1.
Proof. unfold delta; now rewrite Nat.eqb_refl. Qed.

Lemma delta_neq i j : i <> j -> delta i j = 0.
Proof. intros H; unfold delta. apply Nat.eqb_neq in H; now rewrite H. Qed.

Lemma fsum_delta n j f : (j < n)%nat -> fsum n (fun i => f i * delta i j) = f j.
Proof.
  induction n as [|n IH]; intros Hj; [lia|]. simpl.
  destruct (Nat.eq_dec j n) as [->|Hn].
  - rewrite delta_eq, fsum_zero; [ring|].
    intros i Hi; rewrite delta_neq by lia; ring.
  - rewrite IH, delta_neq by lia; ring.
Qed.

(** A sum all of whose terms but the one at [k] vanish. *)
Lemma fsum_single n k f :
  (k < n)%nat -> (forall d, (d < n)%nat -> d <> k -> f d = 0) -> fsum n f = f k.
Proof.
  intros Hk E. rewrite <- (fsum_delta n k f Hk). apply fsum_ext; intros i Hi.
  destruct (Nat.eq_dec i k) as [->|Hn].
  - rewrite delta_eq; ring.
  - rewrite E by assumption; ring.
Qed.

Lemma fsum_nonneg n f : (forall i, (i < n)%nat -> 0 <= f i) -> 0 <= fsum n f.
Proof.
  induction n as [|n IH]; intros E; simpl; [lra|].
  apply Rplus_le_le_0_compat; [apply IH | apply E]; auto with arith.
Qed.

Lemma fsum_le n f g : (forall i, (i < n)%nat -> f i <= g i) -> fsum n f <= fsum n g.
Proof.
  induction n as [|n IH]; intros E; simpl; [lra|].
  apply Rplus_le_compat; [apply IH | apply E]; auto with arith.
Qed.

Lemma fsum_eq_zero n f :
  (forall i, (i < n)%nat -> 0 <= f i) -> fsum n f = 0 ->
  forall i, (i < n)%nat -> f i = 0.
Proof.
  induction n as [|n IH]; intros P E i Hi; [lia|]. simpl in E.
  assert (A : 0 <= fsum n f) by (apply fsum_nonneg; auto with arith).
  assert (B : 0 <= f n) by auto.
  destruct (Nat.eq_dec i n) as [->|Hn]; [lra|].
  apply IH; [auto with arith | lra | lia].
Qed.

Lemma fsum_term n f i :
  (forall i, (i < n)%nat -> 0 <= f i) -> (i < n)%nat -> f i <= fsum n f.
Proof.
  induction n as [|n IH]; intros P Hi; [lia|]. simpl.
  assert (A : 0 <= fsum n f) by (apply fsum_nonneg; auto with arith).
  assert (B : 0 <= f n) by auto.
  destruct (Nat.eq_dec i n) as [->|Hn]; [lra|].
  assert (C : f i <= fsum n f) by (apply IH; [auto with arith | lia]). lra.
Qed.

Lemma Rabs_fsum n f : Rabs (fsum n f) <= fsum n (fun i => Rabs (f i)).
Proof.
  induction n as [|n IH]; simpl.
  - rewrite Rabs_R0. lra.
  - eapply Rle_trans; [apply Rabs_triang | lra].
Qed.

(** * Means *)

Lemma mean_ext n f g : (forall i, (i < n)%nat -> f i = g i) -> mean n f = mean n g.
Proof. intros E. unfold mean. now rewrite (fsum_ext n f g E). Qed.

Lemma mean_plus n f g : mean n (fun i => f i + g i) = mean n f + mean n g.
Proof. unfold mean, Rdiv. rewrite fsum_plus. ring. Qed.

Lemma mean_minus n f g : mean n (fun i => f i - g i) = mean n f - mean n g.
Proof. unfold mean, Rdiv. rewrite fsum_minus. ring. Qed.

Lemma mean_scal n c f : mean n (fun i => c * f i) = c * mean n f.
Proof. unfold mean, Rdiv. rewrite fsum_scal. ring. Qed.

Lemma INR_neq0 n : (1 <= n)%nat -> INR n <> 0.
Proof. intros. apply not_0_INR. lia. Qed.

Lemma INR_pos n : (1 <= n)%nat -> 0 < INR n.
Proof. intros. apply lt_0_INR. lia. Qed.

Lemma fsum_mean n f : (1 <= n)%nat -> fsum n f = INR n * mean n f.
Proof. intros Hn. unfold mean. field. now apply INR_neq0. Qed.

Lemma mean_const n c : (1 <= n)%nat -> mean n (fun _ => c) = c.
Proof. intros Hn. unfold mean. rewrite fsum_const. field. now apply INR_neq0. Qed.

Lemma mean_le n f g : (1 <= n)%nat ->
  (forall i, (i < n)%nat -> f i <= g i) -> mean n f <= mean n g.
Proof.
  intros Hn E. unfold mean, Rdiv. apply Rmult_le_compat_r.
  - apply Rlt_le, Rinv_0_lt_compat, INR_pos, Hn.
  - now apply fsum_le.
Qed.

Lemma mean_fsum_swap n m f :
  mean n (fun i => \sum_(d < m) f i d) = \sum_(d < m) mean n (fun i => f i d).
Proof.
  unfold mean, Rdiv. now rewrite fsum_swap, <- fsum_scal_r.
Qed.
